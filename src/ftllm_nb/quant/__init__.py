"""Weight formats: how a matrix lies in memory, and the kernels that make it and multiply by it."""

from __future__ import annotations

from ftllm_nb.quant.families import families
from ftllm_nb.quantized_type import ElementType, QuantizedType


def weight_types() -> dict[str, ElementType]:
    """The types that `--dtype` takes, by name; no kernel is imported."""
    found: dict[str, ElementType] = {}
    for family in families():
        found |= family.TYPES
    return dict(sorted(found.items()))


def weight_formats() -> list[str]:
    """Their names."""
    return list(weight_types())


def quantized_types() -> dict[str, QuantizedType]:
    """Those that are whole numbers."""
    return {name: type for name, type in weight_types().items() if isinstance(type, QuantizedType)}

"""Weights as floats: exact in float32, 8 significant bits in bfloat16, 11 in float16, up to magnitudes of 65,504."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.quant.base import WeightFormat

TYPES = {name: name for name in ("bfloat16", "float16", "float32")}


def make(name: str) -> WeightFormat:
    """The format of a type of floats; bfloat16 lies as AMX wants it where the CPU has that."""
    from ftllm_nb.kernels.tiers import current_tier
    from ftllm_nb.quant.floats import FloatFormat
    from ftllm_nb.quant.pairs import PairFormat

    if name == "bfloat16" and current_tier().multiplies_matrices:
        return PairFormat(name)
    return FloatFormat(name)

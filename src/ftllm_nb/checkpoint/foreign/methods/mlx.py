"""MLX's affine quantization: whole numbers of 4 or 8 bits, a scale and an offset (`biases`) for a group of inputs.

Of a module NAME, `weight` uint32 [out, in · bits / 32] holds the numbers, the first in the lowest bits, `scales` and
`biases` [out, groups]. Modules may differ from config.json's `quantization`, which then has entries of their names.
Experts are stacked, [experts, out, …], as `switch_mlp`: they are shown as transformers has them, a matrix each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from ftllm_nb.checkpoint.base import Checkpoint, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.matrix import ForeignMatrix, ScaledMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.quantized_type import ScaledType

METHODS = ("mlx",)
SECTION = "quantization"
_WEIGHT, _SCALES, _OFFSETS = ".weight", ".scales", ".biases"
_BITS = (4, 8)
_STACK, _MIXTRAL = ".switch_mlp.", "block_sparse_moe"
_MIXTRAL_NAMES = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    entries.one_of("mode", ("affine",), "affine")
    for name, info in stored.tensors.items():
        if name.endswith(_WEIGHT) and info.dtype == "U32":
            module = name.removesuffix(_WEIGHT)
            yield from _matrices(Parts(stored, module), _own(entries, module, entries.section.get(module)))


def _own(entries: Entries, module: str, own: Any) -> Entries:
    """The entries of a module, of which `own` is said."""
    if own is None or own is True:
        return entries
    if not isinstance(own, Mapping):
        raise entries.error(f"says {shown(own)} of {module}, whose weights are quantized")
    return Entries({**entries.section, **own}, f"{entries.where}.{module}")


def _matrices(parts: Parts, entries: Entries) -> Iterator[ForeignMatrix]:
    """One, or those of a stack."""
    bits, group = entries.whole("bits"), entries.whole("group_size", 64)
    if bits not in _BITS:
        raise entries.error(f"has the bits {bits}; supported are {' and '.join(map(str, _BITS))}")
    if group <= 0 or group % 32:
        raise entries.error(f"has the group_size {group}; supported are multiples of 32")
    words = parts.require(_WEIGHT, ("U32",), 3 if _STACK in parts.name else 2)
    scales = parts.require(_SCALES, FLOATS)
    *stack, rows, width = words.shape
    columns = width * 32 // bits
    because = f"{rows} outputs and {columns} inputs of {bits} bits in groups of {group}"
    dtype = ScaledType(f"u{bits}", group, str(scales.dtype), offsets=True)
    parts.require_shape(scales, (*stack, rows, dtype.groups(columns)), because=because)
    offsets = parts.require(_OFFSETS, (str(scales.dtype),))
    parts.require_shape(offsets, scales.shape, because=because)
    used, what = tuple(parts.used), f"MLX int{bits}"
    for number, name in enumerate(_names(parts.name, *stack)):
        info = TensorInfo(f"{name}.weight", (rows, columns), dtype, parts.nbytes // math.prod(stack), what)
        yield ScaledMatrix(info, used, partial(_read, parts, number if stack else None))


def _names(module: str, experts: int | None = None) -> list[str]:
    """What transformers calls the modules that a module stands for."""
    if experts is None:
        return [module]
    mixture, _, own = module.partition(_STACK)
    own = _MIXTRAL_NAMES.get(own, own) if mixture.endswith(_MIXTRAL) else own
    return [f"{mixture}.experts.{expert}.{own}" for expert in range(experts)]


def _read(parts: Parts, expert: int | None) -> StoredScaled:
    arrays = (parts.stored.read(parts.name + ending) for ending in (_WEIGHT, _SCALES, _OFFSETS))
    words, scales, offsets = (array if expert is None else array[expert] for array in arrays)
    return StoredScaled(np.ascontiguousarray(words, "<u4").view(np.uint8), scales, offsets)

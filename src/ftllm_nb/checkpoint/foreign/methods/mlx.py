"""MLX's affine quantization: whole numbers of 4 or 8 bits, a scale and an offset (`biases`) for a group of inputs.

Of a module NAME, `weight` uint32 [out, in · bits / 32] holds the numbers, the first in the lowest bits, `scales` and
`biases` [out, groups]. Sizes are told by the tensors, since modules may differ from config.json's `quantization`.
"""

from __future__ import annotations

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


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    entries.one_of("mode", ("affine",), "affine")
    for name, info in stored.tensors.items():
        if name.endswith(_WEIGHT) and info.dtype == "U32":
            module = name.removesuffix(_WEIGHT)
            own = entries.section.get(module)
            yield _matrix(Parts(stored, module), entries if own is None or own is True else _own(entries, module, own))


def _own(entries: Entries, module: str, own: Any) -> Entries:
    if not isinstance(own, Mapping):
        raise entries.error(f"says {shown(own)} of {module}, whose weights are quantized")
    return Entries({**entries.section, **own}, f"{entries.where}.{module}")


def _matrix(parts: Parts, entries: Entries) -> ForeignMatrix:
    bits, group = entries.whole("bits"), entries.whole("group_size", 64)
    if bits not in _BITS:
        raise entries.error(f"has the bits {bits}; supported are {' and '.join(map(str, _BITS))}")
    if group <= 0 or group % 32:
        raise entries.error(f"has the group_size {group}; supported are multiples of 32")
    words = parts.require(_WEIGHT, ("U32",), 2)
    scales = parts.require(_SCALES, FLOATS, 2)
    rows, columns = words.shape[0], words.shape[1] * 32 // bits
    because = f"{rows} outputs and {columns} inputs of {bits} bits in groups of {group}"
    dtype = ScaledType(f"u{bits}", group, str(scales.dtype), offsets=True)
    parts.require_shape(scales, (rows, dtype.groups(columns)), because=because)
    offsets = parts.require(_OFFSETS, (str(scales.dtype),), 2)
    parts.require_shape(offsets, scales.shape, because=because)
    info = TensorInfo(words.name, (rows, columns), dtype, parts.nbytes, f"MLX int{bits}")
    return ScaledMatrix(info, tuple(parts.used), partial(_read, parts))


def _read(parts: Parts) -> StoredScaled:
    words, scales, offsets = (parts.stored.read(parts.name + ending) for ending in (_WEIGHT, _SCALES, _OFFSETS))
    return StoredScaled(np.ascontiguousarray(words, "<u4").view(np.uint8), scales, offsets)

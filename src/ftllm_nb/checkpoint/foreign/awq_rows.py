"""AWQ's other layouts, packed along inputs: versions gemv and gemv_fast of AutoAWQ, which also is llm-awq's own.

Of a module NAME, gemv: `qweight` int32 [out, in / 8], the first input in the lowest bits; `qzeros` int32 [out, words]
and `scales` [out, 8 · words], filled up beyond a row's groups. gemv_fast: `qweight` int16 [out / 4, in], each block of
64 inputs with its four outputs one after the other, in which 32 inputs are shuffled (`_PLACES`); `scales` [8 · words,
out] and `qzeros` of the same shape and type: what is added to numbers times scales, minus a zero point times its scale.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredIntegers, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.compressed_tensors.packing import unpack
from ftllm_nb.checkpoint.foreign.matrix import ForeignMatrix, IntegerMatrix, ScaledMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.quantized_type import COLUMNS_MULTIPLE, QuantizedType, ScaledType

_WEIGHT, _SCALES, _ZEROS = ".qweight", ".scales", ".qzeros"
_BITS, _IN_WORD = 4, 8
_OUTPUTS, _INPUTS, _SHUFFLED = 4, 64, 32
"""What gemv_fast packs together; inputs that are shuffled among each other."""


def _places() -> NDArray[np.int64]:
    """Which of 32 inputs lies at each place: pairs are dealt to four runs of eight, their second ones go behind."""
    dealt = np.arange(_SHUFFLED).reshape(4, 4, 2).transpose(1, 0, 2).reshape(4, 4, 2)
    return dealt.transpose(0, 2, 1).reshape(_SHUFFLED)


_PLACES = _places()


def of_rows(parts: Parts, group: int) -> ForeignMatrix:
    """A matrix of version gemv; `group`: the config's, −1 for whole rows."""
    words = parts.require(_WEIGHT, ("I32",), 2)
    rows, columns = words.shape[0], words.shape[1] * _IN_WORD
    size, count = _groups(parts, columns, group)
    zeros = parts.require(_ZEROS, ("I32",), 2)
    scales = parts.require(_SCALES, FLOATS, 2)
    because = f"{columns} inputs, {rows} outputs and {count} groups"
    width = max(zeros.shape[1], -(-count // _IN_WORD))  # filled up more or less, by version
    parts.require_shape(zeros, (rows, width), because=because)
    parts.require_shape(scales, (rows, width * _IN_WORD), because=because)

    def read() -> StoredIntegers:
        found = (parts.stored.read(parts.name + ending) for ending in (_WEIGHT, _SCALES, _ZEROS))
        numbers, factors, points = found
        return StoredIntegers(numbers, factors[:, :count], unpack(points, _BITS, count))

    dtype = QuantizedType(_BITS, size, str(scales.dtype), zero_points=True)
    info = TensorInfo(f"{parts.name}.weight", (rows, columns), dtype, parts.nbytes, "AWQ int4")
    return IntegerMatrix(info, tuple(parts.used), read)


def of_four_rows(parts: Parts, group: int) -> ForeignMatrix:
    """A matrix of version gemv_fast."""
    words = parts.require(_WEIGHT, ("I16",), 2)
    rows, columns = words.shape[0] * _OUTPUTS, words.shape[1]
    if columns % _INPUTS:
        raise parts.error(words.name, f"has {columns} inputs, which {_INPUTS} do not divide")
    size, count = _groups(parts, columns, group)
    scales = parts.require(_SCALES, FLOATS, 2)
    offsets = parts.require(_ZEROS, (str(scales.dtype),), 2)
    because = f"{columns} inputs, {rows} outputs and {count} groups"
    parts.require_shape(scales, (max(scales.shape[0], count), rows), because=because)
    parts.require_shape(offsets, scales.shape, because=because)
    dtype = ScaledType("u4", size, str(scales.dtype), offsets=True)
    info = TensorInfo(f"{parts.name}.weight", (rows, columns), dtype, parts.nbytes, "AWQ int4 with offsets")
    return ScaledMatrix(info, tuple(parts.used), partial(_scaled, parts, count))


def _groups(parts: Parts, columns: int, group: int) -> tuple[int, int]:
    """Columns of a group, 0 for whole rows, and how many groups a row has."""
    if group == -1:
        return 0, 1
    if group <= 0 or group % COLUMNS_MULTIPLE or columns % group:
        raise parts.error(
            parts.name + _WEIGHT,
            f"has {columns} inputs, but config.json's group_size is {group}; supported are multiples of "
            f"{COLUMNS_MULTIPLE} that divide them",
        )
    return group, columns // group


def _scaled(parts: Parts, count: int) -> StoredScaled:
    words, scales, offsets = (parts.stored.read(parts.name + ending) for ending in (_WEIGHT, _SCALES, _ZEROS))
    stored = np.ascontiguousarray(words, "<i2").view(np.uint8)
    numbers = np.stack((stored & np.uint8(15), stored >> np.uint8(4)), axis=-1)
    numbers = numbers.reshape(len(words), -1, _OUTPUTS, _INPUTS // _SHUFFLED, _SHUFFLED)
    in_order = numbers[..., np.argsort(_PLACES)].transpose(0, 2, 1, 3, 4).reshape(len(words) * _OUTPUTS, -1)
    return StoredScaled(in_order[:, ::2] | in_order[:, 1::2] << np.uint8(4), scales[:count].T, offsets[:count].T)

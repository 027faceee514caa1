"""AWQ, as AutoAWQ writes it: whole numbers of 4 bits with zero points.

In version gemm they are packed along outputs. Of a module NAME, `qweight` int32 [in, out / 8], `qzeros` int32 [groups,
out / 8], `scales` [groups, out]. A word's eight outputs lie in another order, from the lowest bits on (`_ORDER`). Other
versions are packed along inputs (../awq_rows.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredIntegers, TensorInfo
from ftllm_nb.checkpoint.foreign.awq_rows import of_four_rows, of_rows
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.groups import ordered_groups
from ftllm_nb.checkpoint.foreign.matrix import ForeignMatrix, IntegerMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.quantized_type import COLUMNS_MULTIPLE, QuantizedType

METHODS = ("awq",)
BESIDE = "quant_config.json"
_WEIGHT, _SCALES, _ZEROS = ".qweight", ".scales", ".qzeros"
_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_BITS, _IN_WORD, _HALF, _GROUP = 4, 8, 8, 128
_SWAPS = ((4, 0x0000FFFF), (2, 0x00FF00FF), (1, 0x0F0F0F0F))
"""How 8 words of 8 numbers are turned: between words of this distance, the upper numbers of the first one, which the
mask leaves out, for the lower ones of the second."""


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    bits = entries.whole("bits", entries.whole("w_bit", _BITS))
    if bits != _BITS:
        raise entries.error(f"has the bits {bits}; supported is {_BITS}")
    make = _VERSIONS[entries.one_of("version", _VERSIONS, entries.one_of("checkpoint_format", _VERSIONS, "gemm"))]
    group = entries.whole("group_size", entries.whole("q_group_size", _GROUP))
    entries.flag("zero_point", True)
    for name in stored.tensors:
        if name.endswith(_SCALES) and name.removesuffix(_SCALES) + _WEIGHT not in stored.tensors:
            raise Parts(stored, name).error(
                name, "divides what an activation function gives, which is not supported: take a model without"
            )
    for name in [name for name in stored.tensors if name.endswith(_WEIGHT)]:
        yield make(Parts(stored, name.removesuffix(_WEIGHT)), group)


def _of_outputs(parts: Parts, group: int) -> ForeignMatrix:
    """Version gemm, whose tensors tell the groups."""
    words = parts.require(_WEIGHT, ("I32",), 2)
    scales = parts.require(_SCALES, FLOATS, 2)
    zeros = parts.require(_ZEROS, ("I32",), 2)
    columns, rows, count = words.shape[0], words.shape[1] * _IN_WORD, scales.shape[0]
    because = f"{columns} inputs, {rows} outputs and {count} groups"
    parts.require_shape(scales, (count, rows), because=because)
    parts.require_shape(zeros, (count, words.shape[1]), because=because)
    groups = ordered_groups(None, columns, count)
    if groups is None or groups.size % COLUMNS_MULTIPLE or columns % _IN_WORD:
        raise parts.error(
            scales.name,
            f"makes {count} groups of {columns} inputs; supported are groups of a multiple of {COLUMNS_MULTIPLE}",
        )
    dtype = QuantizedType(_BITS, groups.size, str(scales.dtype), zero_points=True)
    info = TensorInfo(f"{parts.name}.weight", (rows, columns), dtype, parts.nbytes, "AWQ int4")
    return IntegerMatrix(info, tuple(parts.used), partial(_integers, parts.stored, parts.name))


_VERSIONS = {"gemm": _of_outputs, "gemv": of_rows, "gemv_fast": of_four_rows, "llm-awq": of_four_rows}

def _integers(stored: Checkpoint, module: str) -> StoredIntegers:
    zeros = np.ascontiguousarray(_outputs(stored.read(module + _ZEROS)).T)
    return StoredIntegers(
        _turned(stored.read(module + _WEIGHT)), stored.read(module + _SCALES).T, (zeros - np.uint8(_HALF)).view(np.int8)
    )


def _turned(words: NDArray[np.int32]) -> NDArray[np.int32]:
    """Words [in, out / 8] of eight outputs as words [out, in / 8] of eight inputs."""
    turned = np.array(words, "<u4").reshape(-1, _IN_WORD, words.shape[1])
    for distance, mask in _SWAPS:
        pairs = turned.reshape(len(turned), -1, 2, distance, words.shape[1])
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        shift = np.uint32(_BITS * distance)
        differs = ((first >> shift) ^ second) & np.uint32(mask)
        second ^= differs
        first ^= differs << shift
    in_order = turned[:, np.argsort(_ORDER)]
    return np.ascontiguousarray(in_order.transpose(2, 1, 0)).reshape(-1, len(turned)).view("<i4")


def _outputs(words: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The numbers [n, outputs] of words [n, outputs / 8]."""
    bytes_ = np.ascontiguousarray(words, "<i4").view(np.uint8)
    numbers = np.empty((len(words), words.shape[1], _IN_WORD), np.uint8)
    pairs = bytes_.reshape(len(words), -1, 4)
    for number, place in enumerate(_ORDER):
        byte = pairs[:, :, number // 2]
        numbers[:, :, place] = byte >> 4 if number % 2 else byte & 15
    return numbers.reshape(len(words), -1)

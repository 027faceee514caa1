"""HQQ, as the package and transformers write it to safetensors: codes, and a scale and a zero point in floats a group.

Of a module NAME, `W_q` holds whole numbers of groups, a row for each; where a byte holds several, rows of the first
half (quarter, eighth) lie in the upper bits and the others below, and of 3 bits ten share an int32. `scale` and `zero`
belong to a row of it (`axis` 1) or to a column (`axis` 0); weight = (number − zero) · scale. `shape`, `axis`, `packing`
and more lie beside them as tensors. Numbers of 1 to 3 bits become those of 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.foreign.entries import Entries
from ftllm_nb.checkpoint.foreign.matrix import FloatMatrix, ForeignMatrix, ScaledMatrix
from ftllm_nb.checkpoint.foreign.parts import FLOATS, Parts
from ftllm_nb.checkpoint.integers import scales_as_float32
from ftllm_nb.quantized_type import ScaledType

METHODS = ("hqq",)
_CODES, _SCALE, _ZERO, _SHAPE, _AXIS, _PACKING = ".W_q", ".scale", ".zero", ".shape", ".axis", ".packing"
_OTHERS = (
    ".nbits", ".group_size", ".unpack_view_dtype", ".view_as_float", ".quant_scale", ".quant_zero", ".compute_dtype",
    ".offload_meta", ".encoded_state_dict", ".stores_quant_config", ".channel_wise", ".optimize", ".round_zero",
)  # fmt: skip
"""Of how it was made, or told by the tensors themselves."""
_PACKINGS = {
    "8bit_u8": (8, 1, 1),
    "4bit_u8": (4, 2, 1),
    "3bit_32": (3, 10, 4),
    "2bit_u8": (2, 4, 1),
    "1bit_u8": (1, 8, 1),
}
"""Bits of a number, numbers side by side, bytes that these fill."""
_WHOLE = ("I32", "I64", "U8")
_MULTIPLE = 4
"""Of columns of a group, which kernels read at a time."""


def matrices(stored: Checkpoint, entries: Entries) -> Iterator[ForeignMatrix]:
    """All matrices of the checkpoint."""
    for name in [name for name in stored.tensors if name.endswith(_CODES)]:
        yield _Module(Parts(stored, name.removesuffix(_CODES))).matrix()


class _Module:
    """A quantized module."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        codes = parts.require(_CODES, ("U8", "I32", *FLOATS), 2)
        packing = bytes(self._numbers(_PACKING, ("U8",)).astype(np.uint8)).decode("latin-1")
        if packing not in _PACKINGS:
            raise parts.error(
                parts.name + _PACKING, f"says {shown(packing)}; supported are {', '.join(_PACKINGS)}"
            )
        self.bits, self.together, each = _PACKINGS[packing]
        shape = self._numbers(_SHAPE, _WHOLE)
        if len(shape) != 2 or (shape <= 0).any():
            raise parts.error(parts.name + _SHAPE, f"holds {shape.tolist()}, but [outputs, inputs] was expected")
        self.rows, self.columns = int(shape[0]), int(shape[1])
        axis = self._numbers(_AXIS, _WHOLE).tolist()
        if axis not in ([0], [1]):
            raise parts.error(parts.name + _AXIS, f"holds {axis}, but 0 or 1 was expected")
        self.is_by_row = axis == [1]
        for ending in _OTHERS:
            parts.find(ending)
        scales = parts.require(_SCALE, FLOATS, 2)
        zeros = parts.require(_ZERO, FLOATS, 2)
        self.count = math.prod(scales.shape)
        numbers = self.rows * self.columns
        self.group, rest = divmod(numbers, self.count)
        because = f"a matrix of {[self.rows, self.columns]} and scales of the shape {list(scales.shape)}"
        if rest or self.count not in scales.shape:
            raise parts.error(
                scales.name, f"has the shape {list(scales.shape)}, which makes no groups of {[self.rows, self.columns]}"
            )
        groups = (self.count, 1) if self.is_by_row else (1, self.count)
        parts.require_shape(scales, groups, because=f"groups along axis {axis[0]}")
        parts.require_shape(zeros, groups, because=because)
        self.height, self.width = (self.count, self.group) if self.is_by_row else (self.group, self.count)
        expected = -(-self.height // self.together) * self.width * each
        if codes.nbytes != expected:
            raise parts.error(
                codes.name, f"has {codes.nbytes} bytes, but {expected} were expected for {because} in {packing}"
            )
        self.word = np.dtype("<u4" if each == 4 else "u1")

    def _numbers(self, ending: str, dtypes: tuple[str, ...]) -> NDArray[Any]:
        info = self.parts.require(ending, dtypes)
        return self.parts.stored.read(info.name).reshape(-1)

    def matrix(self) -> ForeignMatrix:
        """Codes with scales and offsets where groups are runs of columns; else the floats."""
        kept = 4 if self.bits <= 4 else 8
        used, called = tuple(self.parts.used), f"HQQ int{self.bits}"
        name, shape, size = f"{self.parts.name}.weight", (self.rows, self.columns), self.parts.nbytes
        if not self.is_by_row or self.columns % self.group or self.group % _MULTIPLE:
            other = TensorInfo(name, shape, "float32", size, f"{called} in groups across rows")
            return FloatMatrix(other, used, self._floats)
        dtype = ScaledType(f"u{kept}", self.group, "float32", offsets=True)
        info = TensorInfo(name, shape, dtype, size, called)
        return ScaledMatrix(info, used, partial(self._scaled, kept), grows=kept > self.bits)

    def _unpacked(self) -> NDArray[np.uint8]:
        """[height, width]: a row for each group, or a column."""
        stored = np.ascontiguousarray(self.parts.stored.read(self.parts.name + _CODES)).reshape(-1)
        words = stored.view(np.uint8).view(self.word).reshape(-1, self.width)
        found = np.empty((self.together, *words.shape), np.uint8)
        for number, part in enumerate(found):
            shift = self.bits * (self.together - 1 - number)
            part[:] = (words >> words.dtype.type(shift)) & words.dtype.type((1 << self.bits) - 1)
        return found.reshape(-1, self.width)[: self.height]

    def _scales(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scales and zero points."""
        scales, zeros = (self.parts.stored.read(self.parts.name + ending) for ending in (_SCALE, _ZERO))
        return scales_as_float32(scales), scales_as_float32(zeros)

    def _scaled(self, bits: int) -> StoredScaled:
        """(number − zero) · scale is number · scale − zero · scale, whose product floats of 16 bits have exactly."""
        codes = self._unpacked().reshape(self.rows, self.columns)
        if bits == 4:
            codes = codes[:, ::2] | codes[:, 1::2] << np.uint8(4)
        scales, zeros = (each.reshape(self.rows, -1) for each in self._scales())
        return StoredScaled(codes, scales, -(zeros * scales))

    def _floats(self) -> NDArray[np.float32]:
        scales, zeros = self._scales()
        weight = self._unpacked().astype(np.float32)
        weight -= zeros
        weight *= scales
        return weight.reshape(self.rows, self.columns)

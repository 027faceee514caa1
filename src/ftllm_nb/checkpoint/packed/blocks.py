"""Blocks of 16 rows of 4-bit or 8-bit numbers, made of packed words and turned back into floats, in NumPy.

The same blocks as those of kernels/integer_tile.py, where it says how they lie and why. No instruction tier differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredScaled
from ftllm_nb.checkpoint.codes import CODES, scaled_floats
from ftllm_nb.checkpoint.ggml import block_types
from ftllm_nb.checkpoint.ggml.places import BYTES as GRID_BYTES
from ftllm_nb.checkpoint.ggml.places import COLUMNS as GRID_COLUMNS
from ftllm_nb.checkpoint.ggml.places import TABLES
from ftllm_nb.checkpoint.integers import scales_as_float32
from ftllm_nb.hadamard import gathered_weights
from ftllm_nb.quantized_type import BlockedType, QuantizedType, ScaledType

LAYOUT = "rows16"
"""The name of how blocks lie: another name is another way."""
BLOCK_ROWS = 16
_SCALE_TYPES = {"float16": "<f2", "bfloat16": "<u2", "float32": "<f4"}
"""Arrays of scales; bfloat16 as its bits."""


@dataclass(frozen=True)
class BlockForm:
    """Blocks of a matrix of this type: numbers, then scales, then zero points where the type has them."""

    type: QuantizedType

    @classmethod
    def of(cls, dtype: str) -> BlockForm | None:
        """The form of a type as headers name it ("int4g128_float16"), None for what blocks cannot hold."""
        type = QuantizedType.parse(dtype)
        return None if type is None else cls(type)

    @property
    def scale_bytes(self) -> int:
        """Of a scale."""
        return np.dtype(_SCALE_TYPES[self.type.scales]).itemsize

    def number_bytes(self, columns: int) -> int:
        """Bytes of the numbers of a block, which come first."""
        return self.type.padded_columns(columns) * BLOCK_ROWS * self.type.bits // 8

    def block_bytes(self, columns: int) -> int:
        """Bytes of a block."""
        each = self.scale_bytes + self.type.zero_points
        return self.number_bytes(columns) + BLOCK_ROWS * self.type.groups(columns) * each

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """[blocks, bytes of a block] of a matrix."""
        return -(-rows // BLOCK_ROWS), self.block_bytes(columns)

    def pack(
        self,
        words: NDArray[np.uint8],
        scales: NDArray[np.float16],
        zero_points: NDArray[np.uint8] | None,
        columns: int,
    ) -> NDArray[np.uint8]:
        """Blocks, uint8, of rows whose unsigned numbers are packed into words of 4 bytes, the first in the lowest bits.

        `words`: uint8 [rows, bytes]; `scales`, `zero_points`: [rows, groups]. Rows that fill the last block are zeros.
        """
        rows = len(words)
        made = np.zeros(self.shape(rows, columns), np.uint8)
        numbers = self.number_bytes(columns)
        quads = made[:, :numbers].view("<u4").reshape(len(made), -1, BLOCK_ROWS)
        source = words.view("<u4")
        if self.type.bits == 4:
            source = _nibbles_apart(source)
        by_lane = made[:, numbers : numbers + BLOCK_ROWS * self.scale_bytes * scales.shape[1]].view("<f2")
        by_lane = by_lane.reshape(len(made), -1, BLOCK_ROWS)
        _lay(source, quads)
        _lay(scales, by_lane)
        if zero_points is not None:
            _lay(zero_points, made[:, -BLOCK_ROWS * scales.shape[1] :].reshape(len(made), -1, BLOCK_ROWS))
        return made

    def unpack(self, blocks: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
        """The float32 [rows, columns] that blocks stand for."""
        padded, groups = self.type.padded_columns(columns), self.type.groups(columns)
        numbers = self.number_bytes(columns)
        quads = blocks[:, :numbers].reshape(len(blocks), -1, BLOCK_ROWS, 4)
        if self.type.bits == 4:
            quads = np.concatenate([quads & 15, quads >> 4], axis=-1)
        values = quads.transpose(0, 2, 1, 3).reshape(-1, groups, padded // groups).astype(np.float32)
        end = numbers + BLOCK_ROWS * groups * self.scale_bytes
        scales = np.ascontiguousarray(blocks[:, numbers:end]).view(_SCALE_TYPES[self.type.scales])
        scales = scales.reshape(len(blocks), groups, BLOCK_ROWS).transpose(0, 2, 1).reshape(-1, groups, 1)
        if self.type.zero_points:
            zero_points = blocks[:, end:].reshape(len(blocks), groups, BLOCK_ROWS).transpose(0, 2, 1)
            values -= zero_points.reshape(-1, groups, 1)
        else:
            values -= np.float32(self.type.half)
        values *= scales_as_float32(scales)
        if self.type.spread:
            values = gathered_weights(values)
        return values.reshape(len(values), padded)[:rows, :columns]


@dataclass(frozen=True)
class KeptForm:
    """16 rows of one of ggml's block types side by side: as many bytes as the rows have. The bytes of those whose
    numbers
    are rows of grids are what stands for them in memory (checkpoint/ggml/places.py)."""

    type: BlockedType

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """[blocks, bytes of a block] of a matrix."""
        block = GRID_COLUMNS, GRID_BYTES
        if self.type.name not in TABLES:
            known = block_types()[self.type.name]
            block = known.columns, known.nbytes
        return -(-rows // BLOCK_ROWS), BLOCK_ROWS * columns // block[0] * block[1]


@dataclass(frozen=True)
class ScaledForm:
    """Blocks of codes of floats of few bits: codes, then scales, then offsets (kernels/scaled)."""

    type: ScaledType

    @classmethod
    def of(cls, dtype: str) -> ScaledForm | None:
        """The form of a type as headers name it ("e4m3g128_float32"), None for other types."""
        type = ScaledType.parse(dtype)
        return cls(type) if type is not None and type.code in CODES else None

    def code_bytes(self, columns: int) -> int:
        """Bytes of the codes of a block, which come first."""
        return BLOCK_ROWS * columns * CODES[self.type.code].bits // 8

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """[blocks, bytes of a block] of a matrix."""
        scales = np.dtype(_SCALE_TYPES[self.type.scales]).itemsize * (1 + self.type.offsets)
        return -(-rows // BLOCK_ROWS), self.code_bytes(columns) + BLOCK_ROWS * scales * self.type.groups(columns)

    def unpack(self, blocks: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
        """The float32 [rows, columns] that blocks stand for."""

        def of_rows(part: NDArray[Any]) -> NDArray[Any]:
            lanes = np.ascontiguousarray(part).reshape(len(blocks), -1, BLOCK_ROWS).transpose(0, 2, 1)
            return np.ascontiguousarray(lanes.reshape(BLOCK_ROWS * len(blocks), -1)[:rows])

        end = self.code_bytes(columns)
        scales = of_rows(np.ascontiguousarray(blocks[:, end:]).view(_SCALE_TYPES[self.type.scales]))
        groups = self.type.groups(columns)
        offsets = scales[:, groups:] if self.type.offsets else None
        return scaled_floats(StoredScaled(of_rows(blocks[:, :end]), scales[:, :groups], offsets), self.type, columns)


Form = BlockForm | KeptForm | ScaledForm


def form_of(dtype: str) -> Form | None:
    """The form of a type as headers name it ("int4g128_float16", "Q4_K"), None for what blocks cannot hold."""
    return KeptForm(BlockedType(dtype)) if dtype in block_types() else BlockForm.of(dtype) or ScaledForm.of(dtype)


def _lay(rows: NDArray[Any], blocks: NDArray[Any]) -> None:
    """Copy [rows, n] into [blocks, n or more, 16]."""
    width = rows.shape[1]
    whole, rest = divmod(len(rows), BLOCK_ROWS)
    blocks[:whole, :width] = rows[: whole * BLOCK_ROWS].reshape(whole, BLOCK_ROWS, width).transpose(0, 2, 1)
    if rest:
        blocks[whole, :width, :rest] = rows[whole * BLOCK_ROWS :].T


def _nibbles_apart(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Words of eight numbers of 4 bits, 0 to 3 put into the lower halves of the bytes and 4 to 7 into the upper."""
    made = _nibbles_to_bytes(words & np.uint32(0xFFFF))
    made |= _nibbles_to_bytes(words >> np.uint32(16)) << np.uint32(4)
    return made


def _nibbles_to_bytes(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    words |= words << np.uint32(8)
    words &= np.uint32(0x00FF00FF)
    words |= words << np.uint32(4)
    words &= np.uint32(0x0F0F0F0F)
    return words

"""Keys and values in the compiled executor's blocks, read and written by NumPy: for operators that have no kernel.

kernels/cache_layout.py says how they lie; what is written here has the bytes that kernels/cache_rows.py writes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.host_int4 import from_4_bits, in_4_bits, read_int4, write_int4
from ftllm_nb.graph.ir import LayerCache, Value
from ftllm_nb.hadamard import hadamard, hadamard_size
from ftllm_nb.kernels.activation_rows import LEAST_MAGNITUDE
from ftllm_nb.kernels.cache_layout import (
    BLOCK_POSITIONS,
    INT4,
    key_bytes,
    key_columns,
    key_kind,
    value_bytes,
    value_kind,
)
from ftllm_nb.kernels.matmul_tile import FLOAT16, FLOAT32, INT8
from ftllm_nb.ops.lowering import CachePlaces
from ftllm_nb.ops.reach import Reach

Floats = NDArray[np.float32]

_TYPES: dict[int, type[np.generic]] = {FLOAT32: np.float32, FLOAT16: np.float16, INT8: np.uint8}
_ZERO = 128
"""What stands for zero in an int8 block."""


@dataclass(frozen=True)
class CachePart:
    """A layer's keys, or its values: `offset`, where they lie in a block of `group`; `kind`, the cache's type's code;
    `reach`, how far back they are read; `are_values`, whether keys are values as well, which are not stored."""

    is_keys: bool
    heads: int
    dim: int
    kind: int
    offset: int
    group: int
    reach: Reach
    are_values: bool = False

    def read(self, block: int) -> Floats:
        """The rows of the block at an address, float32 [BLOCK_POSITIONS, heads, dim]; of those that nobody has
        written, anything."""
        if self.kind == INT4:
            return from_4_bits(*read_int4(self._memory(block), self.is_keys), self.dim)
        rows: NDArray[Any] = self._elements(block).reshape(BLOCK_POSITIONS, self.heads, -1)
        if self.kind == INT8:
            scales = self._scales(block).reshape(BLOCK_POSITIONS, self.heads, 1)
            rows = (rows.astype(np.float32) - np.float32(_ZERO)) * scales
            if self._is_spread:
                rows = hadamard(rows) / np.float32(hadamard_size(rows.shape[-1]))
        floats: Floats = rows[..., : self.dim].astype(np.float32)
        return floats

    def write(self, block: int, first: int, rows: Floats) -> None:
        """Round float32 [n, heads, dim] to the cache's type, as the block's positions from `first` on."""
        if self.kind == INT4:
            write_int4(self._memory(block), self.is_keys, first, *in_4_bits(rows))
            return
        elements = self._elements(block)
        place = np.divmod(np.arange(first, first + len(rows)), elements.shape[1])
        stored: NDArray[Any] = rows
        if self.kind == INT8:
            numbers, self._scales(block)[place] = in_8_bits(spread_rows(rows) if self._is_spread else rows)
            stored = numbers.astype(np.int16) + _ZERO
        old = elements[place]
        padded = old.reshape(*rows.shape[:2], -1)
        if self.kind == INT8 and self.is_keys:
            padded[...] = _ZERO
        padded[..., : stored.shape[-1]] = stored
        elements[place] = padded.reshape(old.shape)

    @property
    def _is_spread(self) -> bool:
        """Whether rows were multiplied by Hadamard's matrix before they were rounded."""
        return self.is_keys and not self.are_values

    def _elements(self, block: int) -> NDArray[Any]:
        """A view [a, b, heads, c, d]: a · b positions of c · d features, with what pads them."""
        memory, groups = self._memory(block), BLOCK_POSITIONS // 16
        if self.kind != INT8:
            numbers = memory.view(_TYPES[self.kind])
            if self.is_keys:
                return numbers.reshape(self.heads, groups, self.dim, 1, 16).transpose(1, 4, 0, 2, 3)
            return numbers.reshape(self.heads, -1, BLOCK_POSITIONS, 1, 16).transpose(2, 3, 0, 1, 4)
        if self.is_keys:
            parts = memory.reshape(self.heads, groups, -1)[..., :-64]
            return parts.reshape(self.heads, groups, -1, 16, 4).transpose(1, 3, 0, 2, 4)
        values = memory[:, : -4 * BLOCK_POSITIONS]
        return values.reshape(self.heads, -1, BLOCK_POSITIONS // 4, 16, 4).transpose(2, 4, 0, 1, 3)

    def _scales(self, block: int) -> NDArray[Any]:
        """An int8 block's scales, a view [a, b, heads] as `_elements` has them."""
        memory = self._memory(block)
        if self.is_keys:
            parts = memory.reshape(self.heads, BLOCK_POSITIONS // 16, -1)[..., -64:]
            return parts.view(np.float32).transpose(1, 2, 0)
        scales = memory[:, -4 * BLOCK_POSITIONS :].view(np.float32)
        return scales.reshape(self.heads, -1, 4).transpose(1, 2, 0)

    def _memory(self, block: int) -> NDArray[np.uint8]:
        """[heads, bytes of one head's keys or values], a view."""
        head_bytes = key_bytes(self.kind, self.dim) if self.is_keys else value_bytes(self.kind, self.dim)
        memory = (ctypes.c_uint8 * (self.heads * head_bytes)).from_address(block + self.offset)
        return np.ctypeslib.as_array(memory).reshape(self.heads, head_bytes)


class HostCache:
    """One sequence's keys or values in one layer: a `SequenceCache`. `table`: the sequence's blocks; `start`: its
    tokens before this step; `stored`: those of this step that an earlier operator has stored.

    Positions that no token of the step sees are zeros, whether their blocks are there or not.
    """

    def __init__(self, part: CachePart, table: NDArray[np.int64], start: int, stored: int = 0) -> None:
        self._part = part
        self._table = table
        self._first = part.reach.first_seen(start)
        self._length = start + stored

    def append(self, rows: Floats) -> Floats:
        """See `SequenceCache`; the sequence has blocks for as many rows."""
        position, end = self._length, self._length + len(rows)
        with np.errstate(all="ignore"):  # what does not fit the cache's type is an infinity, as in the kernels
            while position < end:
                number, inside = divmod(position, BLOCK_POSITIONS)
                count = min(end - position, BLOCK_POSITIONS - inside)
                self._part.write(int(self._table[number]), inside, rows[len(rows) - (end - position) :][:count])
                position += count
        self._length = end
        return self.read()

    def read(self) -> Floats:
        """See `SequenceCache`."""
        rows = np.zeros((self._length, self._part.heads, self._part.dim), np.float32)
        with np.errstate(all="ignore"):
            for number in range(self._first // BLOCK_POSITIONS, -(-self._length // BLOCK_POSITIONS)):
                here = slice(number * BLOCK_POSITIONS, min(self._length, (number + 1) * BLOCK_POSITIONS))
                rows[here] = self._part.read(int(self._table[number]))[: here.stop - here.start]
        rows[: self._first] = 0
        return rows


def cache_parts(layers: Mapping[int, LayerCache], places: Mapping[int, CachePlaces]) -> dict[Value, CachePart]:
    """The keys and values of all layers, by the values that stand for them."""
    found = {}
    for layer, cache in layers.items():
        place = places[layer]
        for value, offset in zip(cache.stored, (place.keys, place.values), strict=False):
            heads, dim = value.type.size(1), value.type.size(2)
            is_key = value is cache.key
            kind = key_kind(place.kind) if is_key else value_kind(place.kind)
            found[value] = CachePart(is_key, heads, dim, kind, offset, place.group, cache.reach, cache.value is None)
    return found


def spread_rows(rows: Floats) -> Floats:
    """Keys [n, heads, dim] times Hadamard's matrix, dim filled up to a multiple of 16: what their int8 are of."""
    dim = rows.shape[-1]
    filled = np.zeros((*rows.shape[:-1], key_columns(INT8, dim)), np.float32)
    filled[..., :dim] = rows
    return hadamard(filled)


def in_8_bits(rows: Floats) -> tuple[NDArray[np.int8], Floats]:
    """(numbers, scales): [n, heads, dim] in −127 … 127 and [n, heads], each head's row rounded to steps of its own
    size. A row that holds no number, or an infinity, has a scale that is none."""
    largest = np.abs(rows).max(-1)
    is_zero = largest < np.float32(LEAST_MAGNITUDE)
    with np.errstate(all="ignore"):
        factors = np.where(is_zero, np.float32(0), np.float32(127) / largest)
        numbers = np.rint(rows * factors[..., None]).astype(np.int8)
    return numbers, np.where(is_zero, np.float32(0), largest / np.float32(127))

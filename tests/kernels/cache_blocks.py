"""Blocks of the KV cache in NumPy, as kernels/cache_layout.py says: filled and read by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.kernels.cache_layout import INT4
from ftllm_nb.kernels.matmul_tile import FLOAT16, FLOAT32, INT8

KINDS = {"float32": FLOAT32, "float16": FLOAT16, "int8": INT8, "int4": INT4}
"""The cache's types, and their codes."""
POSITIONS = 64
"""Positions of a block."""
ZERO = 128
"""What stands for zero in an int8 block."""
UNUSED = 255
"""Bytes that nobody has written: as floats, they are no numbers."""


@dataclass(frozen=True)
class Layout:
    """One layer's share of a block; `before`: bytes of other layers in front of it, as many follow the layer.

    `are_latent`: values are the first features of keys, and not stored.
    """

    dtype: str
    kv_heads: int
    key_dim: int
    value_dim: int
    before: int = 192
    are_latent: bool = False

    @property
    def kind(self) -> int:
        return KINDS[self.dtype]

    @property
    def parts(self) -> tuple[str, ...]:
        """What is stored."""
        return ("keys",) if self.are_latent else ("keys", "values")

    @property
    def _is_int8(self) -> bool:
        return self.dtype == "int8"

    @property
    def is_int4(self) -> bool:
        return self.dtype == "int4"

    def spreads(self, part: str) -> bool:
        """Whether what is stored is first multiplied by Hadamard's matrix."""
        return self.is_int4 or (self._is_int8 and part == "keys" and not self.are_latent)

    @property
    def key_columns(self) -> int:
        """Elements of a key, with what pads it."""
        if self.is_int4:
            return -(-self.key_dim // 32) * 32
        return -(-self.key_dim // 16) * 16 if self._is_int8 else self.key_dim

    @property
    def value_columns(self) -> int:
        """Elements of a value, with what pads it."""
        if self.is_int4:
            return -(-self.value_dim // 32) * 32
        return -(-self.value_dim // 16) * 16

    def columns(self, part: str) -> int:
        """Elements of a key or value, with what pads it."""
        return self.key_columns if part == "keys" else self.value_columns

    def _head_bytes(self, part: str) -> int:
        columns = self.columns(part)
        if self.is_int4:
            return POSITIONS * (columns // 2 + columns // 32 * 2)
        return POSITIONS * (columns * np.dtype(self.dtype).itemsize + (4 if self._is_int8 else 0))

    @property
    def keys(self) -> int:
        """Where the keys begin."""
        return self.before

    @property
    def values(self) -> int:
        """Where the values begin."""
        return self.before + self.kv_heads * self._head_bytes("keys")

    def new_blocks(self, count: int) -> NDArray[np.uint8]:
        """[count, bytes of a block], unused."""
        size = sum(self.kv_heads * self._head_bytes(part) for part in self.parts) + 2 * self.before
        return np.full((count, size), UNUSED, np.uint8)

    def _head(self, block: NDArray[np.uint8], part: str, head: int) -> NDArray[np.uint8]:
        start = (self.keys if part == "keys" else self.values) + head * self._head_bytes(part)
        return block[start : start + self._head_bytes(part)]

    def rows(self, block: NDArray[np.uint8], part: str, head: int) -> NDArray[Any]:
        """A head's keys or values, a view that ends with [4 features of a group, in int8, or all features].

        Keys [16 positions, position, feature …], values [16 features, position …, feature …].
        """
        memory = self._head(block, part, head)
        if not self._is_int8:
            elements = memory.view(self.dtype)
            if part == "keys":
                return elements.reshape(POSITIONS // 16, self.key_dim, 16).transpose(0, 2, 1)
            return elements.reshape(-1, POSITIONS, 16).transpose(1, 0, 2)
        if part == "keys":
            blocks = memory.reshape(POSITIONS // 16, 16 * self.key_columns + 64)[:, :-64]
            return blocks.reshape(POSITIONS // 16, -1, 16, 4).transpose(0, 2, 1, 3)
        blocks = memory[: POSITIONS * self.value_columns]
        return blocks.reshape(-1, POSITIONS // 4, 16, 4).transpose(1, 3, 0, 2)

    def scales(self, block: NDArray[np.uint8], part: str, head: int) -> NDArray[np.float32]:
        """An int8 head's scales, a view [16 positions, position] of the keys' and [positions] of the values'."""
        memory = self._head(block, part, head)
        if part == "keys":
            return memory.reshape(POSITIONS // 16, 16 * self.key_columns + 64)[:, -64:].view(np.float32)
        return memory[POSITIONS * self.value_columns :].view(np.float32)

    def _int4(self, part: str, position: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Where an int4 key or value lies in its head's memory: the bytes of its elements, by how many bits they are
        shifted there, and the first bytes of its scales."""
        columns = self.columns(part)
        at, group = np.arange(columns), np.arange(columns // 32)
        if part == "keys":
            tile, inside = divmod(position, 16)
            begin = tile * (16 * columns // 2 + 16 * columns // 32 * 2)
            scales = begin + 8 * columns + 2 * (16 * group + inside)
            return begin + at // 8 * 64 + inside * 4 + at % 4, at // 4 % 2 * 4, scales
        bytes_ = at // 16 * 512 + position // 8 * 64 + at % 16 * 4 + position % 4
        return bytes_, np.full(columns, position // 4 % 2 * 4), 32 * columns + 2 * (64 * group + position)

    def group_scales(self, block: NDArray[np.uint8], part: str, head: int, position: int) -> NDArray[np.float32]:
        """The scales of one int4 key or value, one for each 32 elements."""
        first, memory = self._int4(part, position)[2], self._head(block, part, head)
        bits = memory[first].astype(np.uint32) << 16 | memory[first + 1].astype(np.uint32) << 24
        return bits.view(np.float32)

    def scale(self, block: NDArray[np.uint8], part: str, head: int, position: int) -> np.float32:
        """The scale of one int8 key or value."""
        place = divmod(position, 16) if part == "keys" else position
        return np.float32(self.scales(block, part, head)[place])

    def _place(self, part: str, position: int) -> tuple[int, int]:
        if part == "keys":
            return divmod(position, 16)
        return divmod(position, 4)

    def read(self, block: NDArray[np.uint8], part: str, head: int, position: int) -> NDArray[Any]:
        """The elements of one key or value, with what pads it where a matrix was multiplied by it."""
        if self.is_int4:
            place, up, _ = self._int4(part, position)
            return ((self._head(block, part, head)[place] >> up & 15).astype(int) - 8).astype(np.int8)
        rows, dim = self.rows(block, part, head), self.key_dim if part == "keys" else self.value_dim
        dim = self.key_columns if self.spreads(part) else dim
        if self._is_int8:
            return (rows[self._place(part, position)].reshape(-1)[:dim].astype(int) - ZERO).astype(np.int8)
        if part == "keys":
            return rows[position // 16, position % 16].copy()
        return rows[position].reshape(-1)[:dim].copy()

    def write(
        self, block: NDArray[np.uint8], part: str, head: int, position: int, elements: NDArray[Any], scale: Any = 0
    ) -> None:
        """Set one key or value, and its scale where it has one, or its scales. A value's lanes of padding stay as they
        are."""
        if self.is_int4:
            (place, up, first), memory = self._int4(part, position), self._head(block, part, head)
            numbers = elements.astype(int) + 8
            for shift in (0, 4):  # one after the other: two elements of a key share a byte
                here = up == shift
                memory[place[here]] = memory[place[here]] & (240 >> shift) | numbers[here] << shift
            bits = np.broadcast_to(np.float32(scale), len(first)).copy().view(np.uint32)
            memory[first], memory[first + 1] = bits >> 16 & 255, bits >> 24
            return
        rows = self.rows(block, part, head)
        if self._is_int8:
            numbers = np.full(self.key_columns if part == "keys" else self.value_dim, ZERO)
            numbers[: len(elements)] += elements.astype(int)
            row = rows[self._place(part, position)]
            row[np.divmod(np.arange(len(numbers)), row.shape[1])] = numbers
            place = divmod(position, 16) if part == "keys" else position
            self.scales(block, part, head)[place] = scale
        elif part == "keys":
            rows[position // 16, position % 16] = elements
        else:
            rows[position][np.divmod(np.arange(len(elements)), 16)] = elements


def hadamard_matrix(size: int) -> NDArray[np.float64]:
    """Hadamard's matrix: once for each run of as many as the largest power of two that divides the size."""
    matrix, run = np.ones((1, 1)), size & -size
    while len(matrix) < run:
        matrix = np.kron(np.array([[1.0, 1.0], [1.0, -1.0]]), matrix)
    return np.kron(np.eye(size // run), matrix)

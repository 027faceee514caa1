"""Blocks of the KV cache in NumPy, as kernels/attention.py lays them out: filled and read by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.kernels.matmul_tile import FLOAT16, FLOAT32, INT8

KINDS = {"float32": FLOAT32, "float16": FLOAT16, "int8": INT8}
"""The cache's types, and their codes."""
POSITIONS = 64
"""Positions of a block."""
UNUSED = 255
"""Bytes that nobody has written: as floats, they are no numbers."""


@dataclass(frozen=True)
class Layout:
    """One layer's share of a block; `before`: bytes of other layers in front of it, as many follow the layer."""

    dtype: str
    kv_heads: int
    key_dim: int
    value_dim: int
    before: int = 192

    @property
    def kind(self) -> int:
        return KINDS[self.dtype]

    @property
    def _scale_bytes(self) -> int:
        return 4 * POSITIONS if self.dtype == "int8" else 0

    def _vectors(self, part: str) -> int:
        """Vectors of 16 of a head's matrix: along its positions for keys, along its features for values."""
        return POSITIONS // 16 * self.key_dim if part == "keys" else -(-self.value_dim // 16) * POSITIONS

    def _head_bytes(self, part: str) -> int:
        return 16 * self._vectors(part) * np.dtype(self.dtype).itemsize + self._scale_bytes

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
        size = self.values + self.kv_heads * self._head_bytes("values") + self.before
        return np.full((count, size), UNUSED, np.uint8)

    def rows(self, block: NDArray[np.uint8], part: str, head: int) -> NDArray[Any]:
        """A head's keys or values, a view [vector position, position in it, feature] or [position, vector, lane]."""
        start = (self.keys if part == "keys" else self.values) + head * self._head_bytes(part)
        elements = block[start : start + self._head_bytes(part) - self._scale_bytes].view(self.dtype)
        if part == "keys":
            return elements.reshape(POSITIONS // 16, self.key_dim, 16).transpose(0, 2, 1)
        return elements.reshape(-1, POSITIONS, 16).transpose(1, 0, 2)

    def scales(self, block: NDArray[np.uint8], part: str, head: int) -> NDArray[np.float32]:
        """An int8 head's scales, a view [positions]."""
        end = (self.keys if part == "keys" else self.values) + (head + 1) * self._head_bytes(part)
        return block[end - self._scale_bytes : end].view(np.float32)

    def read(self, block: NDArray[np.uint8], part: str, head: int, position: int) -> NDArray[Any]:
        """The elements of one key or value."""
        rows = self.rows(block, part, head)
        if part == "keys":
            return rows[position // 16, position % 16].copy()
        return rows[position].reshape(-1)[: self.value_dim].copy()

    def write(
        self, block: NDArray[np.uint8], part: str, head: int, position: int, elements: NDArray[Any], scale: float = 0
    ) -> None:
        """Set one key or value, and its scale where it has one. Lanes of padding stay as they are."""
        rows = self.rows(block, part, head)
        if part == "keys":
            rows[position // 16, position % 16] = elements
        else:
            for lane, element in enumerate(elements):
                rows[position, lane // 16, lane % 16] = element
        if self.dtype == "int8":
            self.scales(block, part, head)[position] = scale

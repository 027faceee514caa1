"""What a type is that is written, and the arithmetic that families share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.quant.blocks import blocks_of, quantizer

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Encode = Callable[[Floats], Bytes]
"""From weights [blocks, columns] to bytes [blocks, bytes of a block]."""
WithPlaces = Callable[[Bytes, Bytes], Bytes]
"""From bytes [blocks, bytes of a block] and places of levels [blocks, columns] to bytes."""
_LEAST_SCALE = np.float16(2**-19)
"""Scales below it are off by more than a hundredth: float16 has few steps there."""
_TOO_LARGE = "holds numbers that are too large for scales of float16"


@dataclass(frozen=True)
class WrittenType:
    """A type by ggml's name: `columns` neighbouring numbers of a row are a block of `nbytes`.

    `levels`: rising, what numbers can be in units of a scale, to which a minimum is added; `group`: columns that have
    one of each; `with_places`: the bytes of a block with other numbers, levels by their places. Types of floats have
    none of these.

    `file_type`: the number that llama.cpp gives a file of mostly this type; `nearest`: how `rtn` encodes it;
    `scale_at`: where a block has its float16 scale, None where it has none; `narrower`: the type of rows that the block
    does not divide, "" for none.
    """

    name: str
    columns: int
    nbytes: int
    file_type: int
    nearest: Encode
    scale_at: int | None = None
    narrower: str = ""
    levels: tuple[float, ...] = ()
    group: int = 0
    with_places: WithPlaces | None = None

    @property
    def has_plain_scales(self) -> bool:
        """Whether numbers are levels times the float16 that a block begins with."""
        return self.scale_at == 0 and self.group == self.columns and self.levels[0] < 0

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row."""
        return columns // self.columns * self.nbytes

    def kernels(self, method: str) -> list[Kernel]:
        """Those that `encode` runs: `rtn` has none, all other methods search scales."""
        return [quantizer(self.name)] if self.levels and method != "rtn" else []

    def encode(self, rows: Floats, method: str, importance: Floats | None = None) -> Bytes:
        """The bytes [rows, bytes of a row] of float32 rows that blocks divide; `importance`: of each column.

        Raises `ValueError`, "holds …", where a number is not finite, or a scale is too large for float16.
        """
        if self.kernels(method):
            return blocks_of(self.name, rows, "float32", importance)
        if not np.isfinite(rows).all():
            raise ValueError("holds numbers that are not finite")
        blocks = np.ascontiguousarray(rows, np.float32).reshape(-1, self.columns)
        return self.nearest(blocks).reshape(len(rows), -1)

    def has_room(self, encoded: Bytes) -> bool:
        """Whether the largest scale of encoded rows is precise, as far as float16 is."""
        if self.scale_at is None:
            return True
        scales = encoded.reshape(-1, self.nbytes)[:, self.scale_at : self.scale_at + 2]
        return bool((np.ascontiguousarray(scales).view(np.uint16) & 0x7FFF).max() >= _LEAST_SCALE.view(np.uint16))


def as_half(scales: NDArray[Any]) -> tuple[Floats, Bytes]:
    """Numbers [blocks, 1] rounded to float16: as float32, and their bytes [blocks, 2]."""
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(scales, np.float32).astype("<f2")
    if not np.isfinite(halves).all():
        raise ValueError(_TOO_LARGE)
    return halves.astype(np.float32), halves.view(np.uint8)


def inverse(scales: Floats) -> Floats:
    """1 / scale, 0 where the scale is."""
    with np.errstate(divide="ignore", over="ignore"):
        found = np.where(scales == 0, np.float32(0), np.float32(1) / scales)
    return np.where(np.isfinite(found), found, np.float32(0)).astype(np.float32)


def packed(numbers: Bytes, bits: int, run: int) -> Bytes:
    """Numbers [blocks, n] below 2 ** bits, several to a byte: the lowest bits of each `run` bytes hold the first
    numbers."""
    parts = numbers.reshape(len(numbers), -1, 8 // bits, run)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    found: Bytes = np.bitwise_or.reduce(parts << shifts, axis=2)
    return found.reshape(len(numbers), -1)


def signed_largest(groups: Floats) -> Floats:
    """The number of the largest magnitude of each group [..., size]: [..., 1], with its sign."""
    at = np.abs(groups).argmax(axis=-1, keepdims=True)
    return np.take_along_axis(groups, at, axis=-1)

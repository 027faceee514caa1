"""What a block type is: its size, and how its bytes become numbers and scales."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


class Decoded(NamedTuple):
    """What some blocks hold: a weight is scale · number − minimum, of its group of neighbouring columns.

    `numbers` [blocks, columns]: whole numbers, or floats in types that are floats. `scales`, and `minimums` or None:
    float32 [blocks, groups]. `factors`, of some types: what the scales are products of, whole numbers int8 [blocks,
    groups], and float32 [blocks, 1].
    """

    numbers: NDArray[Any]
    scales: NDArray[np.float32]
    minimums: NDArray[np.float32] | None = None
    factors: tuple[NDArray[np.int8], NDArray[np.float32]] | None = None


class BlockType(NamedTuple):
    """`columns` neighbouring numbers of a row lie in `nbytes` bytes. `decode` takes uint8 [blocks, nbytes]."""

    name: str
    columns: int
    nbytes: int
    decode: Callable[[Bytes], Decoded]


def halves(blocks: Bytes, at: int, count: int = 1) -> NDArray[np.float32]:
    """The `count` float16 that begin at byte `at` of each block, as float32 [blocks, count]."""
    return words(blocks, at, count, np.float16).astype(np.float32)


def words(blocks: Bytes, at: int, count: int, kind: Any) -> NDArray[Any]:
    """The `count` little-endian numbers of a NumPy type that begin at byte `at` of each block."""
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(blocks[:, at : at + count * size]).view(np.dtype(kind).newbyteorder("<"))


def fields(packed: Bytes, bits: int, run: int) -> Bytes:
    """Numbers of `bits` bits [blocks, 8 / bits · bytes]: of each `run` bytes the lowest bits of all, then the next."""
    parts = packed.reshape(len(packed), -1, 1, run)
    shifts = np.arange(0, 8, bits, dtype=np.uint8).reshape(1, 1, -1, 1)
    return ((parts >> shifts) & np.uint8((1 << bits) - 1)).reshape(len(packed), -1)


def looked_up(table: tuple[int, ...], codes: Bytes) -> NDArray[np.int8]:
    """The entries of a table of 8-bit numbers."""
    return np.array(table, np.int8)[codes]

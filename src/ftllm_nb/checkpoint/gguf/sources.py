"""What a model's tensor is made of: some rows of a file's tensor, in an order of their own.

llama.cpp lays rows out for its own rotation, stacks matrices, adds numbers to norms and keeps decays where models have
their logarithms. Blocks of quantized types lie within a row, so that choosing rows is exact whatever the type.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp] | slice


@dataclass(frozen=True)
class Source:
    """The tensor `name` of a file, as the model's, of `shape`.

    `rows`: which of its rows, all but the last axis counted as one, in which order; None for all as they are. Of a
    vector they are its numbers.
    `plus`: what is added to the numbers. `is_decay`: the file has -exp(x) for the model's x.
    """

    name: str
    shape: tuple[int, ...]
    rows: Rows | None = None
    plus: float = 0.0
    is_decay: bool = False

    @property
    def is_computed(self) -> bool:
        """Whether the model's numbers are others than the file's."""
        return bool(self.plus) or self.is_decay

    def written(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The file's numbers of the model's."""
        if self.is_decay:
            return np.asarray(-np.exp(values.astype(np.float64)), np.float32)
        return values - np.float32(self.plus)


@functools.cache
def neighbours_to_halves(rows: int, heads: int) -> NDArray[np.intp]:
    """The order in which rows of heads that turn by neighbours, (2 j, 2 j + 1), turn by halves, (j, j + half)."""
    order = np.arange(rows).reshape(heads, rows // heads // 2, 2)
    return order.swapaxes(1, 2).reshape(rows)


@functools.cache
def parts_to_heads(rows: int, heads: int, parts: int = 3) -> NDArray[np.intp]:
    """The order in which all of q, then k, then v become the q, k and v of each head."""
    return np.arange(rows).reshape(parts, heads, -1).swapaxes(0, 1).reshape(rows)

"""Which runs of columns share a scale, of matrices that name each column's group."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Groups(NamedTuple):
    """Groups of `size` neighbouring columns, 0 for whole rows; `order`: which column of the file comes to each place,
    None where all stay where they are. The last group may be shorter."""

    size: int
    order: NDArray[np.int32] | None = None


def ordered_groups(index: NDArray[np.int64] | None, columns: int, count: int) -> Groups | None:
    """The groups of `count` scales a row, where `index` [columns] says which one each column has, or None says that
    they are runs; None where no order of the columns makes groups of one size."""
    size = -(-columns // count)
    if -(-columns // size) != count:
        return None
    runs = np.arange(columns) // size
    whole = 0 if count == 1 else size
    if index is None or np.array_equal(index, runs):
        return Groups(whole)
    order = np.argsort(index, kind="stable")
    return Groups(whole, order.astype(np.int32)) if np.array_equal(index[order], runs) else None

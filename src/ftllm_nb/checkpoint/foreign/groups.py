"""Which runs of columns share a scale, of matrices that name each column's group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.foreign.parts import Parts

_WHOLE: Sequence[str] = ("I32", "I64")


class Groups(NamedTuple):
    """Groups of `size` neighbouring columns, 0 for whole rows; `order`: which column of the file comes to each place,
    None where all stay where they are. The last group may be shorter."""

    size: int
    order: NDArray[np.int32] | None = None


def column_groups(
    parts: Parts, ending: str, columns: int, count: int, never_set: int, because: str
) -> NDArray[np.int64] | None:
    """Which of `count` groups each column has, as the tensor of that ending says; None where there is none, or where
    all of it is `never_set`, what it was made of. Raises `CheckpointError` for others than there are."""
    info = parts.find(ending)
    if info is None:
        return None
    parts.require_type(info, _WHOLE)
    parts.require_shape(info, (columns,), because=because)
    index = np.asarray(parts.stored.read(info.name), np.int64)
    if (index == never_set).all():
        return None
    if index.min() < 0 or index.max() >= count:
        raise parts.error(info.name, f"names the groups {index.min()} … {index.max()}, of which there are {count}")
    return index


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


def in_input_order(weight: NDArray[np.float32], order: NDArray[np.int32]) -> NDArray[np.float32]:
    """A matrix whose columns `Groups.order` had moved, each column where its input is."""
    found = np.empty_like(weight)
    found[:, order] = weight
    return found

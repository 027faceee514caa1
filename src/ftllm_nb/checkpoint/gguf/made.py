"""Tensors that a file has in place of a model's: experts as stacks, parts of rows, other orders of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Change = Callable[[Array], Array]


@dataclass(frozen=True)
class Piece:
    """Some rows of a tensor that is made: what `change` does with the model's tensor `name`, None for it as it is."""

    name: str
    change: Change | None = None


@dataclass(frozen=True)
class Made:
    """A tensor of `shape`, one piece after the other along its first axis.

    `computes`: whether numbers change, which are float32 then, and do not only move.
    """

    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]
    computes: bool = False


@dataclass(frozen=True)
class Relaid:
    """How a model is laid out for its architecture: tensors by the names that reading a file gives them, in place of
    those that their pieces name; `config`: entries that become others by it."""

    made: Mapping[str, Made] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def rows_of(name: str, shape: tuple[int, ...], rows: slice | NDArray[np.intp]) -> Made:
    """Some rows of a tensor, in an order of their own."""
    count = len(range(*rows.indices(shape[0]))) if isinstance(rows, slice) else len(rows)
    return Made((count, *shape[1:]), (Piece(name, lambda array: array[rows]),))

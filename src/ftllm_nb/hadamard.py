"""Hadamard's matrix times vectors, in NumPy: kernels/hadamard.py says what for, and computes the same bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 512
"""Of the matrix."""


def hadamard_size(size: int) -> int:
    """Rows of the matrix for vectors of `size` numbers, a multiple of 16: the largest power of two that divides them,
    up to MOST_ROWS. Each run of as many numbers is multiplied by it."""
    return min(size & -size, MOST_ROWS)


def weights_share(size: int) -> int:
    """What weights are divided by that are multiplied by the matrix, as activations are: a power of two, near the root
    of the matrix's size. Activations are divided by the rest."""
    run, share = hadamard_size(size), 1
    while share * share < run:
        share *= 2
    return share


def hadamard(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last axis, a multiple of 16, times the matrix; sums in the order of the kernels."""
    run = hadamard_size(rows.shape[-1])
    found, step = rows, 1
    while step < run:
        pairs = found.reshape(*rows.shape[:-1], -1, 2, step)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        found = np.stack([first + second, first - second], -2).reshape(rows.shape)
        step *= 2
    return found


def spread_weights(groups: NDArray[np.float32]) -> NDArray[np.float32]:
    """Groups of weights as they are rounded where they are spread."""
    return hadamard(groups) * np.float32(1 / weights_share(groups.shape[-1]))


def gathered_weights(groups: NDArray[np.float32]) -> NDArray[np.float32]:
    """What such groups stand for."""
    width = groups.shape[-1]
    return hadamard(groups) * np.float32(weights_share(width) / hadamard_size(width))

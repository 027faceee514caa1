"""Sums over the inputs of a product: how large each feature is, and how features go together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.hadamard import hadamard, hadamard_size, weights_share

Floats = NDArray[np.float32]


@dataclass(eq=False)
class Moments:
    """Of `count` inputs x of `columns` features: `squares` is Σ x², float64 [columns]; `products`, where they are
    wanted, is Σ x · xᵀ, float32 [columns, columns]."""

    columns: int
    with_products: bool
    count: int = 0
    squares: NDArray[np.float64] = field(init=False)
    products: Floats | None = None

    def __post_init__(self) -> None:
        self.squares = np.zeros(self.columns)
        if self.with_products:
            self.products = np.zeros((self.columns, self.columns), np.float32)

    def add(self, rows: Floats) -> None:
        """Count inputs, [inputs, columns]."""
        self.count += len(rows)
        if self.products is None:
            self.squares += np.square(rows).sum(0, dtype=np.float64)
            return
        products = rows.T @ rows
        self.squares += np.diagonal(products)
        self.products += products

    def padded(self, columns: int) -> Moments:
        """The same of inputs that are filled up with zeros to so many features."""
        if columns == self.columns:
            return self
        more = columns - self.columns
        made = Moments(columns, False, self.count)
        made.squares = np.pad(self.squares, (0, more))
        made.products = None if self.products is None else np.pad(self.products, (0, more))
        return made

    def spread(self, size: int) -> Moments:
        """The same for weights that are spread by Hadamard's matrix (ftllm_nb/hadamard.py), so many together. Without
        products inputs count as if they did not go together."""
        run = hadamard_size(size)
        factor = weights_share(size) / run
        made = Moments(self.columns, False, self.count)
        if self.products is None:
            means = self.squares.reshape(-1, run).mean(axis=1) * (run * factor * factor)
            made.squares = np.repeat(means, run)
            return made
        products = self.products
        for _ in range(2):
            products = hadamard(products.reshape(self.columns, -1, size)).reshape(products.shape).T
        made.products = np.ascontiguousarray(products) * np.float32(factor * factor)
        made.squares = np.maximum(np.diagonal(made.products), 0).astype(np.float64)
        return made

    @property
    def mean_squares(self) -> Floats:
        """Of each feature."""
        return (self.squares / max(1, self.count)).astype(np.float32)

    @property
    def is_finite(self) -> bool:
        """Whether all inputs were."""
        return bool(np.isfinite(self.squares).all() and np.isfinite(self.mean_squares).all())

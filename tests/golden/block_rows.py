"""Rows that llama.cpp quantized (make_ggml_blocks.py), and how much was left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FILE = Path(__file__).with_name("ggml_blocks.npz")
KEPT = 4
"""Of so many rows the blocks are in the file."""


def rows() -> Floats:
    """Weights [128, 1024]: normal ones of several sizes, and from the second half on with longer tails."""
    random = np.random.default_rng(22)
    sizes = 2.0 ** random.integers(-9, -2, (128, 1))
    normal, tailed = random.standard_normal((64, 1024)), random.standard_t(5, (64, 1024))
    found: Floats = (np.concatenate([normal[:2], tailed[:2], normal[2:], tailed[2:]]) * sizes).astype(np.float32)
    return found


def importance() -> Floats:
    """How much each column counts, [1024]: as mean squares of inputs, some a hundred times as much as others."""
    return np.exp(1.5 * np.random.default_rng(23).standard_normal(1024)).astype(np.float32)


def left(weights: Floats, rounded: Floats, counts: Floats) -> float:
    """Σ counts · error² / Σ counts · weight², the mean over rows."""
    exact = weights.astype(np.float64)
    return float(((counts * (rounded - exact) ** 2).sum(1) / (counts * exact**2).sum(1)).mean())

"""How fast the pairs of a rotated head turn, in radians a position: rope's formulas, rounded as transformers does."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_NO_WIDTH = 0.001
"""The width of a ramp whose ends meet."""


def powers(base: float | Floats, dim: int) -> Floats:
    """base^(2j / dim) for each angle j < dim / 2: float32 [angles]."""
    exponents = (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)).astype(np.float64)
    result: Floats = np.power(base, exponents).astype(np.float32)
    return result


def inverse_frequencies(base: float | Floats, dim: int) -> Floats:
    """base^(−2j / dim) for each angle j, rounded where transformers rounds: the power, then its inverse."""
    return np.float32(1) / powers(base, dim)


def llama3_frequencies(base: float, dim: int, factor: float, low: float, high: float, original: float) -> Floats:
    """Those that turn less than `low` times in the `original` context are divided by `factor`, those that turn more
    than `high` times stay, and between them they are blended: float32 [angles].
    """
    frequencies = inverse_frequencies(base, dim)
    by, least, most, context = map(np.float32, (factor, low, high, original))
    wavelengths = np.float32(2 * math.pi) / frequencies
    smooth = (context / wavelengths - least) / (most - least)
    between = (1 - smooth) * frequencies / by + smooth * frequencies
    scaled = np.where(wavelengths > context / least, frequencies / by, between)
    return np.asarray(np.where(wavelengths < context / most, frequencies, scaled), np.float32)


def yarn_frequencies(base: float, dim: int, factor: float, first: float, last: float) -> Floats:
    """Those before angle `first` stay, those after `last` are divided by `factor`, between them is a ramp: float32
    [angles].
    """
    power = powers(base, dim)
    stay, divided = np.float32(1) / power, np.float32(1) / (np.float32(factor) * power)
    ramp = (np.arange(len(power), dtype=np.float32) - np.float32(first)) / np.float32(last - first or _NO_WIDTH)
    part = np.float32(1) - np.clip(ramp, np.float32(0), np.float32(1))
    return np.asarray(divided * (1 - part) + stay * part, np.float32)


def sin_and_cos(positions: Floats, frequencies: Floats, scale: float = 1.0) -> tuple[Floats, Floats]:
    """`scale` times the sines and cosines of [n] positions: float32 [n, angles] each. `frequencies`: [angles], or
    [n, angles] where they depend on the position.
    """
    with np.errstate(over="ignore"):  # a power beyond float32 is an angle that stands still
        angle = positions[:, None] * frequencies
    return np.sin(angle) * np.float32(scale), np.cos(angle) * np.float32(scale)

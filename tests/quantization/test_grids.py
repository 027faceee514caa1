"""Scales and levels of least weighted error, for types of all kinds of levels, against searches in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm_nb.quantization.grids import Fitter, Grid, Scales
from ftllm_nb.quantized_type import QuantizedType
from tests.kernels.kernel_runs import pool

TABLE = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
GRIDS = {
    "int4g32": Grid.of(QuantizedType(4, 32)),
    "int4g32 with zero points": Grid.of(QuantizedType(4, 32, zero_points=True)),
    "int8": Grid.of(QuantizedType(8)),
    "a table of 16": Grid(tuple(map(float, TABLE)), 32),
}
each_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


def material(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Weights [9, 128], one group of them far from zero, and how much columns count."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((9, 128), np.float32)
    weights[3, 32:64] += 4
    return weights, np.exp(2 * random.standard_normal(128)).astype(np.float32)


def levels_of(grid: Grid, scales: Scales) -> np.ndarray:
    """All values that the weights of each group can have, [rows, groups, levels]."""
    levels = np.array(grid.levels, np.float32) * np.ones((*scales.scales.shape, 1), np.float32)
    if scales.zeros is not None:
        levels = levels - (scales.zeros.astype(np.float32) + grid.levels[0])[..., None]
    return levels * scales.scales.astype(np.float32)[..., None]


def error(grid: Grid, weights: np.ndarray, scales: Scales, importance: np.ndarray) -> np.ndarray:
    """Of each group, [rows, groups]."""
    groups = weights.reshape(*scales.scales.shape, -1)
    off = np.abs(groups[..., None] - levels_of(grid, scales)[..., None, :]).min(-1)
    return (importance.reshape(1, scales.scales.shape[1], -1) * off**2).sum(-1)


@each_grid
def test_levels_are_the_nearest(grid: Grid) -> None:
    weights, importance = material()
    fitter = Fitter(grid, pool())
    scales = fitter.scales(weights, importance)
    codes = fitter.codes(weights, scales)
    values = fitter.values(codes, scales)
    off = ((weights - values) ** 2 * importance).reshape(*scales.scales.shape, -1).sum(-1)
    np.testing.assert_allclose(off, error(grid, weights, scales, importance), rtol=1e-4)
    picked = np.take_along_axis(levels_of(grid, scales), codes.reshape(*scales.scales.shape, -1).astype(int), -1)
    np.testing.assert_allclose(picked.reshape(values.shape), values, rtol=1e-6, atol=1e-7)


@each_grid
def test_no_scale_near_is_better(grid: Grid) -> None:
    """Neither the others that a dense search tries, nor those of weights that all count alike."""
    weights, importance = material()
    fitter = Fitter(grid, pool())
    found = fitter.scales(weights, importance)
    least = error(grid, weights, found, importance)
    alike = error(grid, weights, fitter.scales(weights, np.ones_like(importance)), importance)
    assert least.sum() < alike.sum() * (0.97 if len(grid.levels) == 16 else 1.0)
    best = np.full_like(least, np.inf)
    for fraction in np.linspace(0.5, 1.1, 121, dtype=np.float32):
        for sign in (1, -1):
            scales = (sign * fraction * np.abs(found.scales.astype(np.float32))).astype(np.float16)
            best = np.minimum(best, error(grid, weights, Scales(scales, found.zeros), importance))
    # With many levels it is chance which of two near scales meets the weights that count most.
    assert least.sum() < best.sum() * (1.02 if len(grid.levels) == 16 else 1.15)


def test_a_scale_of_either_sign_serves_the_longer_side() -> None:
    weights = np.full((1, 32), -7.0, np.float32)
    weights[0, ::2] = 8.0
    fitter = Fitter(GRIDS["int4g32"], pool())
    scales = fitter.scales(weights, np.ones(32, np.float32))
    assert scales.scales.tolist() == [[-1.0]]
    np.testing.assert_array_equal(fitter.values(fitter.codes(weights, scales), scales), weights)


@each_grid
def test_odd_weights(grid: Grid) -> None:
    fitter, importance = Fitter(grid, pool()), np.zeros(64, np.float32)
    weights = np.zeros((2, 64), np.float32)
    weights[1] = 1e-12
    scales = fitter.scales(weights, importance + 1)
    assert not fitter.values(fitter.codes(weights, scales), scales).any()
    weights[1] = 0.5  # no column counts
    scales = fitter.scales(weights, importance)
    assert np.isfinite(scales.scales).all()
    for value in (np.nan, np.inf, 3e38):
        weights[1, 3] = value
        with pytest.raises(ValueError, match="not finite, or too large"):
            fitter.scales(weights, importance + 1)


@each_grid
def test_feedback_is_its_definition(grid: Grid) -> None:
    weights, importance = material()
    random, fitter = np.random.default_rng(5), Fitter(grid, pool())
    scales = fitter.scales(weights, importance)
    factor = np.triu(random.standard_normal((128, 128)) / 20 + np.eye(128)).astype(np.float32)
    order = random.permutation(128).astype(np.int32)
    rows, codes = np.ascontiguousarray(weights[:, order]), np.zeros(weights.shape, np.uint8)
    left, expected = rows.astype(np.float64), np.zeros_like(codes)
    all_levels = levels_of(grid, scales).repeat(grid.width(128), axis=1)
    for at, column in enumerate(order):
        off = np.abs(left[:, at, None] - all_levels[:, column])
        expected[:, column] = off.argmin(-1)
        rounded = np.take_along_axis(all_levels[:, column], expected[:, column, None].astype(int), 1)[:, 0]
        errors = (left[:, at] - rounded) / factor[at, at]
        left[:, at + 1 :] -= errors[:, None] * factor[at, at + 1 :]
    found = []
    for first in (0, 64):
        here = np.ascontiguousarray(factor[first : first + 64, first : first + 64])
        found.append(fitter.feed_back(rows, first, here, order, fitter.lines(scales), codes))
        rows[:, first + 64 :] -= found[-1] @ factor[first : first + 64, first + 64 :]
    assert (codes != expected).mean() < 0.003, "but where float32 decides otherwise at a middle"
    np.testing.assert_allclose(np.sort(rows), np.sort(fitter.values(codes, scales)), atol=1e-5)

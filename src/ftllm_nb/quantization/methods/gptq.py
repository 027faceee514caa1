"""Errors of outputs made good: columns are rounded one after the other, and later ones take up what earlier ones lost.

The columns whose inputs are largest come first, since those after them have less to make good with; a column keeps the
scale of its group. Scales are those of least error where a column counts as what is left of its error then; in the
end, those of a row are fitted together to its numbers. See kernels/round_feedback.py for the step from column to
column.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.grids import Fitter, Floats, Lines, Scales

CALIBRATED = True
NEEDS_PRODUCTS = True
ROUNDS = 1
"""How often numbers and scales are fitted to each other."""
AT_ONCE = 128
"""Columns between two products with all that follow."""
DAMPING = 0.1
"""How much of its own square is added to each input, as if it had noise of its own: of few inputs, many go together by
chance. More is taken where that is not enough."""
_SMALLEST_BLOCK = 64
_REFITTED_AT_ONCE, _LEAST_REFITTED = 1 << 24, 64
"""Rows whose scales are fitted at a time: so many, or as have so many pairs of scales."""
_LEAST_SHARE = 1e-6
"""Added to each scale's own square, so that those of scales that do the same can be told."""


Rounded = Callable[[Floats, Moments, Fitter, Lines], NDArray[np.uint8]]
"""From weights, moments, a fitter and what levels stand for to the places of levels."""


@dataclass(frozen=True)
class Plan:
    """`order`: of the columns, int32; `factor`: U of kernels/round_feedback.py, in that order."""

    order: NDArray[np.int32]
    factor: Floats


@functools.lru_cache(maxsize=1)  # matrices that read one value come one after the other
def _plan(moments: Moments) -> Plan:
    assert moments.products is not None
    order = np.argsort(-moments.mean_squares, kind="stable").astype(np.int32)
    return Plan(order, inverse_factor(moments.products[np.ix_(order, order)]))


def importance(moments: Moments) -> Floats:
    """How much a column's squared error counts that later columns have made good as far as they can, [columns]."""
    plan = _plan(moments)
    found = np.empty(moments.columns, np.float32)
    found[plan.order] = np.diagonal(plan.factor) ** -2 / np.float32(max(1, moments.count))
    return found


def quantize_matrix(weights: Floats, moments: Moments, fitter: Fitter) -> tuple[NDArray[np.uint8], Scales]:
    """See methods/__init__.py."""
    return in_rounds(weights, moments, fitter, ROUNDS, rounded)


def in_rounds(
    weights: Floats, moments: Moments, fitter: Fitter, rounds: int, rounded: Rounded
) -> tuple[NDArray[np.uint8], Scales]:
    """Numbers as `rounded` gives them, and the scales that fit them; then, in further rounds, numbers for those scales,
    and so on. A row keeps the best of its rounds."""
    scales = fitter.scales(weights, importance(moments))
    best: tuple[NDArray[np.uint8], NDArray[np.float16], Floats] | None = None
    for _ in range(rounds):
        codes = rounded(weights, moments, fitter, fitter.lines(scales))
        units = fitter.units(codes, scales)
        scales = Scales(refitted(weights, moments, units, scales.scales), scales.zeros)
        if rounds == 1:
            return codes, scales
        errors = row_errors(weights - fitter.values(codes, scales), moments)[:, None]
        made = codes, scales.scales, errors
        best = made if best is None else better_rows(made, best)
        codes, scales = best[0], Scales(best[1], scales.zeros)
    return codes, scales


def better_rows(new: tuple[Any, ...], old: tuple[Any, ...]) -> tuple[Any, ...]:
    """Of two makings of a matrix, each some arrays of its rows, the errors [rows, 1] last, each row's better one."""
    is_better = new[-1] < old[-1]
    return tuple(np.where(is_better, one, other) for one, other in zip(new, old, strict=True))


def row_errors(off: Floats, moments: Moments) -> Floats:
    """The squared error of each row's outputs, [rows], where weights are off by so much; inputs have noise of their
    own, as `DAMPING` says."""
    assert moments.products is not None
    errors: Floats = np.einsum("ij,ij->i", off @ moments.products, off) + DAMPING * (np.square(off) @ moments.squares)
    return errors.astype(np.float32, copy=False)


def rounded(weights: Floats, moments: Moments, fitter: Fitter, lines: Lines) -> NDArray[np.uint8]:
    """The places of the levels, uint8 [rows, columns], that these weights get."""
    plan = _plan(moments)
    order, factor = plan.order, plan.factor
    floats, codes = np.ascontiguousarray(weights[:, order]), np.zeros(weights.shape, np.uint8)
    for first in range(0, len(order), AT_ONCE):
        here = slice(first, first + AT_ONCE)
        errors = fitter.feed_back(floats, first, np.ascontiguousarray(factor[here, here]), order, lines, codes)
        floats[:, first + AT_ONCE :] -= errors @ factor[here, first + AT_ONCE :]
    return codes


def refitted(
    weights: Floats, moments: Moments, units: Floats, scales: NDArray[np.float16]
) -> NDArray[np.float16]:
    """Scales with which the outputs of a matrix [rows, columns] are nearest, float16 [rows, groups], where weights are
    `units` times the scale of their group: all of a row's together, since inputs of different groups go together.

    Groups of zeros, and rows whose scales would be none of float16, keep theirs.
    """
    rows, groups = scales.shape
    columns = weights.shape[1]
    width = columns // groups
    products = damped(moments)
    wanted = weights @ products
    made, at_once = scales.copy(), max(_LEAST_REFITTED, _REFITTED_AT_ONCE // groups**2)
    for first in range(0, rows, at_once):
        here = units[first : first + at_once].reshape(-1, groups, width)
        alike = np.empty((len(here), groups, groups))
        for group in range(groups):
            reached = here[:, group] @ products[group * width : (group + 1) * width, group * width :]
            pairs = np.einsum("rgw,rgw->rg", reached.reshape(len(here), -1, width), here[:, group:])
            alike[:, group, group:] = alike[:, group:, group] = pairs
        target = (wanted[first : first + at_once].reshape(here.shape) * here).sum(-1, dtype=np.float64)
        diagonal = np.einsum("ijj->ij", alike)
        is_zero = diagonal <= 0
        diagonal += np.where(is_zero, 1.0, _LEAST_SHARE * diagonal)
        found = np.linalg.solve(alike, target[..., None])[..., 0]
        fits = (np.abs(found) < np.finfo(np.float16).max).all(-1, keepdims=True)
        kept = scales[first : first + at_once]
        made[first : first + at_once] = np.where(fits & ~is_zero, found, kept)
    return made


def damped(moments: Moments) -> Floats:
    """Σ x · xᵀ of inputs that have noise of their own, as `DAMPING` says."""
    assert moments.products is not None
    products = moments.products.copy()
    products[np.arange(moments.columns), np.arange(moments.columns)] *= np.float32(1 + DAMPING)
    return products


def inverse_factor(products: Floats, damping: float = DAMPING) -> Floats:
    """U, upper triangular, with Uᵀ · U the inverse of these second moments, which are changed.

    Each is divided by the sizes of its two inputs, so that one number damps all. Inputs that are always 0 count as if
    they went with no other.
    """
    sizes = np.sqrt(np.diagonal(products))
    sizes = np.where(sizes > 0, sizes, np.float32(1))
    products /= sizes[:, None]
    products /= sizes
    diagonal = np.arange(len(products))
    while True:
        products[diagonal, diagonal] = np.float32(1 + damping)
        try:
            # From last to first: then the factor of the inverse is the inverse of this one.
            lower = np.linalg.cholesky(products[::-1, ::-1])
            break
        except np.linalg.LinAlgError:
            damping *= 10
    factor = np.ascontiguousarray(inverse_triangle(lower)[::-1, ::-1])
    factor /= sizes
    return factor


def inverse_triangle(lower: Floats) -> Floats:
    """The inverse of a lower triangle, itself one."""
    size = len(lower)
    if size <= _SMALLEST_BLOCK:
        return np.tril(np.linalg.inv(lower)).astype(np.float32)
    half = size // 2
    made = np.zeros_like(lower)
    made[:half, :half] = inverse_triangle(lower[:half, :half])
    made[half:, half:] = inverse_triangle(lower[half:, half:])
    made[half:, :half] = -made[half:, half:] @ (lower[half:, :half] @ made[:half, :half])
    return made

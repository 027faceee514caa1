"""The least error of outputs that there is: gptq, then each number once more as all others are, twice over.

What gptq rounds first it never sees again. Here each number in turn becomes the level with which its row's error is
least while the others stay, which can only make it less; then scales are fitted, and all of it is done once more for
those scales. A row keeps the better one. Scaling columns first, as AWQ does, brought gptq nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.quantization.calibration.moments import Moments
from ftllm_nb.quantization.grids import Fitter, Floats, Lines, Scales
from ftllm_nb.quantization.methods import gptq
from ftllm_nb.quantization.methods.gptq import AT_ONCE, better_rows, importance, refitted, row_errors

__all__ = [
    "CALIBRATED", "NEEDS_PRODUCTS", "ROUNDS", "better_rows", "importance", "quantize_matrix", "refitted", "rounded",
    "row_errors",
]  # fmt: skip

CALIBRATED = True
NEEDS_PRODUCTS = True
ROUNDS = 2
PASSES = 2
"""Over all columns, in each round."""


def quantize_matrix(weights: Floats, moments: Moments, fitter: Fitter) -> tuple[NDArray[np.uint8], Scales]:
    """See methods/__init__.py."""
    return gptq.in_rounds(weights, moments, fitter, ROUNDS, rounded)


def rounded(weights: Floats, moments: Moments, fitter: Fitter, lines: Lines) -> NDArray[np.uint8]:
    """The places of the levels, uint8 [rows, columns], that these weights get."""
    return descended(weights, moments, fitter, lines, gptq.rounded(weights, moments, fitter, lines))


def descended(
    weights: Floats, moments: Moments, fitter: Fitter, lines: Lines, places: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Places of levels, column by column the best ones as the others are: errors of rows are never larger for it."""
    products = gptq.damped(moments)
    columns, rows = weights.shape[1], len(weights)
    own = np.diagonal(products).copy()
    own[own <= 0] = 1
    levels = np.array(fitter.grid.levels, np.float32)
    middles = (levels[1:] + levels[:-1]) / 2
    width = fitter.grid.width(columns)

    def of_columns(of_groups: Floats) -> Floats:
        return np.ascontiguousarray(np.repeat(of_groups.T, width, axis=0))

    steps = of_columns(lines.steps)
    offsets = np.zeros_like(steps) if lines.offsets is None else of_columns(lines.offsets)
    with np.errstate(divide="ignore"):
        inverse = np.where(steps == 0, np.float32(0), 1 / steps)
    made = np.ascontiguousarray(places.T)
    values = levels[made] * steps + offsets
    pull = products @ (weights.T - values)
    for _ in range(PASSES):
        for first in range(0, columns, AT_ONCE):
            here = slice(first, min(first + AT_ONCE, columns))
            near, left = np.ascontiguousarray(products[here, here]), pull[here].copy()
            moved = np.empty((len(near), rows), np.float32)
            for at, column in enumerate(range(here.start, here.stop)):
                wanted = values[column] + left[at] / own[column] - offsets[column]
                made[column] = np.searchsorted(middles, wanted * inverse[column])
                value = levels[made[column]] * steps[column] + offsets[column]
                moved[at] = value - values[column]
                values[column] = value
                left -= near[:, at, None] * moved[at]
            pull -= products[:, here] @ moved
    return np.ascontiguousarray(made.T)

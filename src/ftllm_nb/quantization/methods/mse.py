"""Least mean squared error of what a row makes of its inputs: a search of scales around that of `rtn`.

Inputs are taken to vary alike in all directions, and once more along the group's own weights, as those of a trained
model tend to: a group that comes out too short or too long as a whole costs more than the same error across it.

Of 4 bits, twenty scales from 0.49 to 1.06 times that of `rtn` are tried, the latter first; of 8 bits, whose best scale
is near it, from 0.936 to 1.012 times. Steps reach one further down than up: numbers of 4 bits try each scale with both
signs, so that the longer side is that of the larger weights. With zero points, those beside the nearest one are tried
as well. Then, twice, the scale that fits the numbers best replaces the one that gave them, where it is better.
"""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import bits_float
from ftllm_nb.kernels.pack_integers import largest_bits
from ftllm_nb.kernels.quantize_rows import (
    as_half,
    bounds,
    fitted_scale,
    nearest,
    output_error,
    rows_walker,
    sum_of_squares,
)

TRIED = 20
"""Scales that are tried."""
LARGEST_FEW, APART_FEW = np.float32(1.06), np.float32(0.03)
LARGEST_MANY, APART_MANY = np.float32(1.012), np.float32(0.004)
"""The largest of them and their distance with few steps and with many, in scales of `rtn`, which are among them."""
REFINED = 2
"""How often the best of them is fitted to its numbers."""
FEW_STEPS = 16
"""With so many steps, a side that is longer by one and the neighbours of a zero point are worth a try."""


@numba.njit
def _choose(floats, size, middle, symmetric):
    low, high = np.float32(0.0), bits_float(largest_bits(floats, size))
    steps, widest = 2 * middle, np.float32(middle - 0.5)
    if not symmetric:
        low, high = bounds(floats, size)
        widest = np.float32(steps - 1)
    base = (high - low) / widest
    scale, zero = as_half(base), middle
    if scale == 0 or scale > np.float32(65504.0):
        return scale, zero
    if not symmetric:
        zero = min(max(np.int64(nearest(-low / scale)), 0), steps - 1)
    squares = sum_of_squares(floats, size)
    first, best = zero, output_error(floats, size, squares, scale, zero, steps)
    around = 1 if steps <= FEW_STEPS and not symmetric else 0
    signs = 2 if steps <= FEW_STEPS and symmetric else 1
    largest, apart = (LARGEST_FEW, APART_FEW) if steps <= FEW_STEPS else (LARGEST_MANY, APART_MANY)
    for number in range(TRIED):
        positive = as_half(base * (largest - np.float32(number) * apart))
        if positive == 0 or positive > np.float32(65504.0):
            continue
        for sign in range(signs):
            tried = -positive if sign else positive
            for beside in range(max(first - around, 0), min(first + around, steps - 1) + 1):
                error = output_error(floats, size, squares, tried, beside, steps)
                if error < best:
                    best, scale, zero = error, tried, beside
    for _ in range(REFINED):
        tried = as_half(fitted_scale(floats, size, squares, scale, zero, steps))
        if tried == 0 or abs(tried) > np.float32(65504.0):
            break
        error = output_error(floats, size, squares, tried, zero, steps)
        if not error < best:
            break
        best, scale = error, tried
    return scale, zero


_walk = rows_walker(_choose)


@kernel()
def rows_kernel(row, step, worker):
    """See methods/__init__.py."""
    _walk(row, worker)

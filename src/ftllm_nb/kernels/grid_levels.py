"""Numbers that a quantized weight can be, its levels: the nearest one to each of 16 floats, and its place among them.

Levels rise. They are whole numbers without a gap (`table` 0), or a table: `count` levels as float32, then the `count`
− 1 middles between neighbours, of which the greater neighbour is meant from just above on.
"""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.memory import load_f32
from ftllm_nb.kernels.simd import load_vector, round_even, select, spread, sum_lanes


@numba.njit
def nearest_levels(quotients, low, high, table, count):
    """The level nearest to each lane: whole numbers from `low` to `high`, or those of a table."""
    if table == 0:
        number = round_even(quotients)
        number = select(number < spread(low), spread(low), number)
        return select(number > spread(high), spread(high), number)
    level = load_f32(table)
    number = spread(level)
    for at in range(1, count):
        level = load_f32(table + 4 * at)
        number = select(quotients > spread(load_f32(table + 4 * (count + at - 1))), spread(level), number)
    return number


@numba.njit
def nearest_code(quotient, low, high, table, count):
    """The place, from 0, of the level nearest to a float."""
    if table == 0:
        return np.int64(min(max(np.rint(quotient), low), high) - low)
    code = np.int64(0)
    for at in range(count - 1):
        code += np.int64(quotient > load_f32(table + 4 * (count + at)))
    return code


@numba.njit
def level_of(code, low, table):
    """The level at a place."""
    return low + np.float32(code) if table == 0 else load_f32(table + 4 * code)


@numba.njit(error_model="numpy")
def weighted_error(floats, weights, size, scale, low, high, table, count):
    """Σ weight · (x − scale · level)² over `size` floats x, a multiple of 16, with the nearest levels; scale ≠ 0."""
    factor, width, total = spread(np.float32(1.0) / scale), spread(scale), spread(np.float32(0.0))
    for at in range(0, 4 * size, 64):
        x = load_vector(floats + at)
        off = x - nearest_levels(x * factor, low, high, table, count) * width
        total = total + load_vector(weights + at) * off * off
    return sum_lanes(total)


@numba.njit(error_model="numpy")
def weighted_fit(floats, weights, size, scale, low, high, table, count):
    """The scale of least `weighted_error` for the levels that this one gives; NaN where all of them are 0."""
    factor = spread(np.float32(1.0) / scale)
    products, squares = spread(np.float32(0.0)), spread(np.float32(0.0))
    for at in range(0, 4 * size, 64):
        x, weight = load_vector(floats + at), load_vector(weights + at)
        number = nearest_levels(x * factor, low, high, table, count)
        products, squares = products + weight * x * number, squares + weight * number * number
    return sum_lanes(products) / sum_lanes(squares)

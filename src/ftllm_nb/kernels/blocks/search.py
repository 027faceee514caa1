"""The scale, or the scale and the minimum, with which some neighbouring weights are best rounded to few numbers.

What is least: Σ v · e · e + along · (Σ v · e · x)² / Σ v · x · x, where x are the weights, e what rounding takes from
them, and v says how much each input counts. With `along` 1 inputs vary alike in all directions, and once more along the
weights themselves, as those of a trained model tend to; 0 is for a v that was measured.

For given numbers n the best scale has a closed form, and so has its error: a pass over the weights is enough for each
scale that is tried.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types

from ftllm_nb.kernels.emit import F32, emitted, function
from ftllm_nb.kernels.quantize_rows import as_half, nearest
from ftllm_nb.kernels.simd import fma, load_vector, max_lanes, round_even, select, spread, sum_lanes

LARGEST_HALF = np.float32(65504.0)


@emitted(types.float32, types.float32)
def magnitude(builder, value):
    """|value|"""
    return builder.call(function(builder, "llvm.fabs.f32", F32, F32), [value])


@numba.njit
def span(floats, size, with_zero):
    """The smallest and the largest of `size` floats, a multiple of 16, and of 0 where that is asked for."""
    low = load_vector(floats)
    if with_zero:
        low = spread(np.float32(0.0))
    high = low
    for at in range(0, 4 * size, 64):
        x = load_vector(floats + at)
        low, high = select(x < low, x, low), select(x > high, x, high)
    return -max_lanes(spread(np.float32(0.0)) - low), max_lanes(high)


@numba.njit
def weighted_square(floats, weights, size):
    """Σ v · x · x of `size` floats, a multiple of 16."""
    total = spread(np.float32(0.0))
    for at in range(0, 4 * size, 64):
        x = load_vector(floats + at)
        total = fma(load_vector(weights + at), x * x, total)
    return sum_lanes(total)


def scale_search(to_number: Any, signs: int = 2) -> Any:
    """A function `best(floats, weights, size, along, first, step, count, square)` for kernels: of the scales
    `first` + i · `step`, i < `count`, and, with two signs, their negatives, that which comes out best once it is fitted
    to the numbers that it gives, fitted and not rounded; 0 where all numbers are zero. `to_number(vector)`: a vector of
    quotients by the scale as the numbers that they are rounded to. `square`: Σ v · x · x, above 0."""

    @numba.njit
    def best(floats, weights, size, along, first, step, count, square):
        found, least = np.float32(0.0), np.float32(3e38)
        for number in range(signs * count):
            tried = first + np.float32(number // signs) * step
            if number % signs:
                tried = -tried
            factor = spread(np.float32(1.0) / tried)
            products, squares = spread(np.float32(0.0)), spread(np.float32(0.0))
            for at in range(0, 4 * size, 64):
                x = load_vector(floats + at)
                n = to_number(x * factor)
                vn = load_vector(weights + at) * n
                products, squares = fma(vn, x, products), fma(vn, n, squares)
            along_n, bottom = sum_lanes(products), sum_lanes(squares)
            if bottom > np.float32(0.0):
                scale = along_n * (np.float32(1.0) + along) / (bottom + along * along_n * (along_n / square))
                left = square - scale * along_n
                error = left - scale * along_n + scale * scale * bottom + along * left * (left / square)
                if error < least:
                    found, least = scale, error
        return found

    return best


def scale_error(to_number: Any) -> Any:
    """A function `error(floats, weights, size, along, square, scale)` for kernels: what is left of weights that are
    rounded by this scale, all where it is 0. Its arguments are as those of `scale_search`."""

    @numba.njit
    def error(floats, weights, size, along, square, scale):
        inverse = np.float32(0.0)
        if scale != np.float32(0.0):
            inverse = np.float32(1.0) / scale
        factor, width = spread(inverse), spread(scale)
        total, sum_ex = spread(np.float32(0.0)), spread(np.float32(0.0))
        for at in range(0, 4 * size, 64):
            x = load_vector(floats + at)
            e = x - to_number(x * factor) * width
            ve = load_vector(weights + at) * e
            total, sum_ex = fma(ve, e, total), fma(ve, x, sum_ex)
        along_x = sum_lanes(sum_ex)
        return sum_lanes(total) + along * along_x * (along_x / square)

    return error


@numba.njit
def rounded_within(quotients, lowest, highest):
    """Quotients rounded to the nearest whole number, kept in lowest … highest."""
    n = round_even(quotients)
    n = select(n < spread(lowest), spread(lowest), n)
    return select(n > spread(highest), spread(highest), n)


@numba.njit
def span_search(floats, weights, size, along, low, high, most, count, only_below):
    """(scale, minimum), of x ≈ scale · n + minimum with n in 0 … `most`: `count` scales are tried around that whose
    numbers reach from `low` to `high`, each with its numbers' best scale and minimum. `only_below`: minimums are not
    above 0."""
    scale_found, low_found, least = (high - low) / most, low, np.float32(3e38)
    total, sum_x, square = spread(np.float32(0.0)), spread(np.float32(0.0)), spread(np.float32(0.0))
    for at in range(0, 4 * size, 64):
        x, v = load_vector(floats + at), load_vector(weights + at)
        total, sum_x, square = total + v, fma(v, x, sum_x), fma(v, x * x, square)
    total, sum_x, square = sum_lanes(total), sum_lanes(sum_x), sum_lanes(square)
    if not square > np.float32(0.0):
        return scale_found, low_found
    for number in range(count):
        reach = most + np.float32(2.4) * np.float32(number) / np.float32(count - 1) - np.float32(1.0)
        factor, begin = spread(reach / (high - low)), spread(low)
        sum_n, sum_nn, sum_xn = spread(np.float32(0.0)), spread(np.float32(0.0)), spread(np.float32(0.0))
        for at in range(0, 4 * size, 64):
            x, v = load_vector(floats + at), load_vector(weights + at)
            n = rounded_within((x - begin) * factor, np.float32(0.0), most)
            vn = v * n
            sum_n, sum_nn, sum_xn = sum_n + vn, fma(vn, n, sum_nn), fma(vn, x, sum_xn)
        n1, n2, xn = sum_lanes(sum_n), sum_lanes(sum_nn), sum_lanes(sum_xn)
        share = along / square
        a, b, c = n2 + share * xn * xn, n1 + share * xn * sum_x, total + share * sum_x * sum_x
        right, below = (np.float32(1.0) + along) * xn, (np.float32(1.0) + along) * sum_x
        bottom = a * c - b * b
        if bottom > np.float32(0.0):
            scale, minimum = (right * c - below * b) / bottom, (below * a - right * b) / bottom
            if only_below and minimum > np.float32(0.0):
                scale, minimum = right / a, np.float32(0.0)
            error = scale * (a * scale + b * minimum - right) + minimum * (b * scale + c * minimum - below)
            error -= right * scale + below * minimum
            if error < least and scale > np.float32(0.0):
                scale_found, low_found, least = scale, minimum, error
    return scale_found, low_found


@numba.njit
def span_error(floats, weights, size, along, square, scale, minimum, most):
    """(error, better minimum), of numbers from 0 to `most` that this scale and minimum give: what is left of the
    weights, and the minimum that fits the numbers best. `square`: Σ v · x · x, above 0."""
    inverse = np.float32(0.0)
    if scale != np.float32(0.0):
        inverse = np.float32(1.0) / scale
    factor, width, begin = spread(inverse), spread(scale), spread(minimum)
    total, sum_x = spread(np.float32(0.0)), spread(np.float32(0.0))
    sum_e, sum_ee, sum_ex = spread(np.float32(0.0)), spread(np.float32(0.0)), spread(np.float32(0.0))
    for at in range(0, 4 * size, 64):
        x, v = load_vector(floats + at), load_vector(weights + at)
        moved = x - begin
        e = moved - rounded_within(moved * factor, np.float32(0.0), most) * width
        ve = v * e
        total, sum_x = total + v, fma(v, x, sum_x)
        sum_e, sum_ee, sum_ex = sum_e + ve, fma(ve, e, sum_ee), fma(ve, x, sum_ex)
    along_x, below, share = sum_lanes(sum_ex), sum_lanes(sum_x), along / square
    error = sum_lanes(sum_ee) + share * along_x * along_x
    bottom = sum_lanes(total) + share * below * below
    if bottom > np.float32(0.0):
        minimum += (sum_lanes(sum_e) + share * along_x * below) / bottom
    return error, minimum


@numba.njit
def multiple(value, factor, lowest, highest):
    """The nearest multiple of a factor, in factors, from `lowest` to `highest`; 0 of a factor that is 0."""
    if factor == np.float32(0.0):
        return np.int64(0)
    return max(np.int64(lowest), min(np.int64(highest), np.int64(nearest(value / factor))))


@numba.njit
def fits_half(value):
    """Whether a float is finite as a float16."""
    return magnitude(as_half(value)) <= LARGEST_HALF

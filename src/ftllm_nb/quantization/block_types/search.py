"""Scales of least weighted squared error for groups of weights: what quantizing to ggml's block types searches.

A weight x of a group counts with the factor w = importance · (|x| + root of the mean square), as large weights matter
more than small ones. Groups have a multiple of 16 weights. Kernels are called from Python threads, each for groups of
its own; addresses are of float32, row-major [groups, size], `importance` 0 for one everywhere.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.memory import load_f32, store_f32
from ftllm_nb.kernels.simd import (
    load_vector,
    max_lanes,
    round_even,
    select,
    spread,
    store_vector,
    sum_lanes,
)

_GROUP = ("int64", "int64", "int64", "int64")
"""floats, importance, groups, size."""


@numba.njit
def _bounds(floats, size):
    """The smallest and the largest of `size` floats, and the root of their mean square."""
    first = load_vector(floats)
    low, high, squares = first, first, first * first
    for at in range(16, size, 16):
        x = load_vector(floats + 4 * at)
        low, high = select(x < low, x, low), select(x > high, x, high)
        squares = squares + x * x
    zero = spread(np.float32(0.0))
    mean = np.float32(math.sqrt(sum_lanes(squares) / np.float32(size)))
    return -max_lanes(zero - low), max_lanes(high), mean


@numba.njit
def _factors(x, importance, at, mean):
    """How much 16 weights count."""
    zero = spread(np.float32(0.0))
    factor = select(x < zero, zero - x, x) + spread(mean)
    if importance != 0:
        factor = factor * load_vector(importance + 4 * at)
    return factor


@numba.njit
def _clipped(value, lowest, highest):
    number = round_even(value)
    number = select(number < lowest, lowest, number)
    return select(number > highest, highest, number)


@kernel(arguments=(*_GROUP, "int64", "int64", "float32", "float32", "int64", "int64"))
def search_scales(floats, importance, groups, size, lowest, highest, first, apart, tried, scales):
    """A scale for each group, float32 [groups], with which x ≈ scale · number, lowest ≤ number ≤ highest.

    Tried are `tried` scales, and each with both signs: those that make the largest magnitude first, first + apart, …;
    then the scale that fits the numbers best is taken.
    """
    low, high = spread(np.float32(lowest)), spread(np.float32(highest))
    for group in range(groups):
        here = floats + 4 * group * size
        weight = importance + 4 * group * size if importance != 0 else importance
        smallest, largest, mean = _bounds(here, size)
        magnitude = max(-smallest, largest)
        best, scale = np.float32(0.0), np.float32(0.0)
        if magnitude > np.float32(0.0):
            for number in range(2 * tried):
                factor = (first + np.float32(number // 2) * apart) / magnitude
                inverse = spread(-factor if number % 2 == 0 else factor)
                products, squares = spread(np.float32(0.0)), spread(np.float32(0.0))
                for at in range(0, size, 16):
                    x = load_vector(here + 4 * at)
                    step = _clipped(x * inverse, low, high)
                    counted = _factors(x, weight, at, mean) * step
                    products, squares = products + counted * x, squares + counted * step
                along, across = sum_lanes(products), sum_lanes(squares)
                if across > np.float32(0.0):
                    gain = along * (along / across)
                    if gain > best:
                        best, scale = gain, along / across
        store_f32(scales + 4 * group, scale)


@kernel(arguments=(*_GROUP, "int64", "int64", "float32", "float32", "int64", "int64", "int64"))
def search_spans(floats, importance, groups, size, highest, below_zero, first, apart, tried, scales, minimums):
    """A scale and a minimum for each group, float32 [groups] each: x ≈ scale · number + minimum, 0 ≤ number ≤ highest.

    Tried are spans that make the group's first, first + apart, … steps; then the scale and the minimum that fit the
    numbers best are taken. `below_zero`: minimums are none above 0.
    """
    none, high = spread(np.float32(0.0)), spread(np.float32(highest))
    for group in range(groups):
        here = floats + 4 * group * size
        weight = importance + 4 * group * size if importance != 0 else importance
        smallest, largest, mean = _bounds(here, size)
        if below_zero != 0 and smallest > np.float32(0.0):
            smallest = np.float32(0.0)
        span = largest - smallest
        scale, minimum, best = np.float32(0.0), smallest, np.float64(math.inf)
        if span > np.float32(0.0):
            scale = span / np.float32(highest)
            for number in range(tried):
                inverse, start = spread((first + np.float32(number) * apart) / span), spread(smallest)
                all_w, all_q, all_qq, all_x, all_xq, all_xx = none, none, none, none, none, none
                for at in range(0, size, 16):
                    x = load_vector(here + 4 * at)
                    step = _clipped((x - start) * inverse, none, high)
                    w = _factors(x, weight, at, mean)
                    wq, wx = w * step, w * x
                    all_w, all_q, all_qq = all_w + w, all_q + wq, all_qq + wq * step
                    all_x, all_xq, all_xx = all_x + wx, all_xq + wx * step, all_xx + wx * x
                n, q, qq = np.float64(sum_lanes(all_w)), np.float64(sum_lanes(all_q)), np.float64(sum_lanes(all_qq))
                sx, xq, xx = np.float64(sum_lanes(all_x)), np.float64(sum_lanes(all_xq)), np.float64(sum_lanes(all_xx))
                within = n * qq - q * q
                if within > 0:
                    a, b = (n * xq - sx * q) / within, (qq * sx - q * xq) / within
                    if below_zero != 0 and b > 0:
                        a, b = xq / qq, np.float64(0.0)
                    error = xx + a * a * qq + n * b * b + 2 * (a * b * q - a * xq - b * sx)
                    if error < best:
                        best, scale, minimum = np.float64(error), np.float32(a), np.float32(b)
        store_f32(scales + 4 * group, scale)
        store_f32(minimums + 4 * group, minimum)


@numba.njit
def _nearest_entry(value, table, entries):
    """The entry of an ascending table that is nearest to each of 16 values."""
    below = load_f32(table)
    found = spread(below)
    for number in range(1, entries):
        entry = load_f32(table + 4 * number)
        found = select(value > spread((below + entry) * np.float32(0.5)), spread(entry), found)
        below = entry
    return found


@kernel(arguments=(*_GROUP, "int64", "int64", "float32", "float32", "int64", "int64"))
def search_table_scales(floats, importance, groups, size, table, entries, first, apart, tried, scales):
    """As `search_scales` for numbers that are entries of an ascending table, float32 [entries]."""
    for group in range(groups):
        here = floats + 4 * group * size
        weight = importance + 4 * group * size if importance != 0 else importance
        smallest, largest, mean = _bounds(here, size)
        magnitude = max(-smallest, largest)
        best, scale = np.float32(0.0), np.float32(0.0)
        if magnitude > np.float32(0.0):
            for number in range(2 * tried):
                factor = (first + np.float32(number // 2) * apart) / magnitude
                inverse = spread(-factor if number % 2 == 0 else factor)
                products, squares = spread(np.float32(0.0)), spread(np.float32(0.0))
                for at in range(0, size, 16):
                    x = load_vector(here + 4 * at)
                    entry = _nearest_entry(x * inverse, table, entries)
                    counted = _factors(x, weight, at, mean) * entry
                    products, squares = products + counted * x, squares + counted * entry
                along, across = sum_lanes(products), sum_lanes(squares)
                if across > np.float32(0.0):
                    gain = along * (along / across)
                    if gain > best:
                        best, scale = gain, along / across
        store_f32(scales + 4 * group, scale)


@kernel(arguments=("int64", "int64", "int64", "int64", "int64", "int64", "int64"))
def nearest_entries(floats, inverses, groups, size, table, entries, found):
    """The table's entries nearest to x · inverse, float32 [groups, size]; `inverses`: float32 [groups]."""
    for group in range(groups):
        inverse = spread(load_f32(inverses + 4 * group))
        for at in range(0, size, 16):
            place = 4 * (group * size + at)
            store_vector(found + place, _nearest_entry(load_vector(floats + place) * inverse, table, entries))

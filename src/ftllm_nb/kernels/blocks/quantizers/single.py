"""Types of one level: a float16 scale for each 32 columns, and a float16 minimum in those that end in _1."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.blocks.bytes_of import lay_fifth_bits, lay_halves, store_numbers
from ftllm_nb.kernels.blocks.search import (
    fits_half,
    rounded_within,
    scale_search,
    span,
    span_search,
    weighted_square,
)
from ftllm_nb.kernels.memory import bits_float, load_f16, store_f16
from ftllm_nb.kernels.pack_integers import largest_bits
from ftllm_nb.kernels.simd import load_vector, spread

_SPANS = 13
"""Scales that are tried where there is a minimum."""


def _with_minimum(bits: int) -> Any:
    most, after = float(2**bits - 1), 4 if bits == 4 else 8

    @numba.njit
    def quantize(floats, weights, along, spare, block):
        low, high = span(floats, 32, False)
        scale, minimum = np.float32(0.0), low
        if high > low:
            scale, minimum = span_search(floats, weights, 32, along, low, high, np.float32(most), _SPANS, False)
        if not (fits_half(scale) and fits_half(minimum)):
            return False
        store_f16(block, scale)
        store_f16(block + 2, minimum)
        scale, minimum, inverse = load_f16(block), load_f16(block + 2), np.float32(0.0)
        if scale != np.float32(0.0):
            inverse = np.float32(1.0) / scale
        for at in range(0, 32, 16):
            quotients = (load_vector(floats + 4 * at) - spread(minimum)) * spread(inverse)
            store_numbers(spare + at, rounded_within(quotients, np.float32(0.0), np.float32(most)), 0)
        if bits == 5:
            lay_fifth_bits(spare, block + 4)
        lay_halves(spare, 16, 32, block + after)
        return True

    return quantize


def _symmetric(bits: int) -> Any:
    half = 2 ** (bits - 1)
    after = 2 if bits == 4 else 6
    first, step, count = (0.5, 0.05, 12) if bits == 4 else (0.75, 0.05, 8)

    @numba.njit
    def to_number(quotients):
        return rounded_within(quotients, np.float32(-half), np.float32(half - 1))

    best = scale_search(to_number)

    @numba.njit
    def quantize(floats, weights, along, spare, block):
        largest, square = bits_float(largest_bits(floats, 32)), weighted_square(floats, weights, 32)
        scale = np.float32(0.0)
        if square > np.float32(0.0):
            base = largest / np.float32(half - 0.5)
            scale = best(floats, weights, 32, along, np.float32(first) * base, np.float32(step) * base, count, square)
        if not fits_half(scale):
            return False
        store_f16(block, scale)
        scale, inverse = load_f16(block), np.float32(0.0)
        if scale != np.float32(0.0):
            inverse = np.float32(1.0) / scale
        for at in range(0, 32, 16):
            store_numbers(spare + at, to_number(load_vector(floats + 4 * at) * spread(inverse)), half)
        if bits == 5:
            lay_fifth_bits(spare, block + 2)
        lay_halves(spare, 16, 32, block + after)
        return True

    return quantize


def _bytes() -> Any:
    first, step, count = 0.984, 0.0016, 16

    @numba.njit
    def to_number(quotients):
        return rounded_within(quotients, np.float32(-127.0), np.float32(127.0))

    best = scale_search(to_number, signs=1)

    @numba.njit
    def quantize(floats, weights, along, spare, block):
        base = bits_float(largest_bits(floats, 32)) / np.float32(127.0)
        scale, square = np.float32(0.0), weighted_square(floats, weights, 32)
        if square > np.float32(0.0):
            scale = best(floats, weights, 32, along, np.float32(first) * base, np.float32(step) * base, count, square)
        if not fits_half(scale):
            return False
        store_f16(block, scale)
        scale, inverse = load_f16(block), np.float32(0.0)
        if scale != np.float32(0.0):
            inverse = np.float32(1.0) / scale
        for at in range(0, 32, 16):
            store_numbers(block + 2 + at, to_number(load_vector(floats + 4 * at) * spread(inverse)), 0)
        return True

    return quantize


QUANTIZERS = {
    "Q4_0": functools.partial(_symmetric, 4),
    "Q4_1": functools.partial(_with_minimum, 4),
    "Q5_0": functools.partial(_symmetric, 5),
    "Q5_1": functools.partial(_with_minimum, 5),
    "Q8_0": _bytes,
}

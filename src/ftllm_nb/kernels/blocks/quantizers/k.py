"""The K types: 256 columns share a float16, or two, which whole-number scales of 16 or 32 columns multiply."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.blocks.bytes_of import lay_bits, lay_scales, store_numbers
from ftllm_nb.kernels.blocks.search import (
    fits_half,
    magnitude,
    multiple,
    rounded_within,
    scale_search,
    span,
    span_error,
    span_search,
    weighted_square,
)
from ftllm_nb.kernels.memory import bits_float, load_byte, load_f16, load_f32, store_byte, store_f16, store_f32
from ftllm_nb.kernels.pack_integers import largest_bits
from ftllm_nb.kernels.simd import load_vector, spread

_SPANS = 13
_MOST_SCALE = 63
_AROUND, _FITTED = 3, 2
"""Whole-number scales that are tried for a group, and how often its minimum is fitted to the numbers of each."""
_Q6 = (0.85, 0.03, 8)
"""The first scale that is tried, the distance to the next, and their number, for Q6_K."""


def _with_minimums(bits: int) -> Any:
    """Q4_K and Q5_K."""
    most, numbers_at = float(2**bits - 1), 16 if bits == 4 else 48

    @numba.njit
    def multiples(floats, weights, along, scale, factor, minimum, second):
        """The multiples of `factor` and `second` near a group's scale and minimum that are best together."""
        nearest, low = multiple(scale, factor, 0, _MOST_SCALE), -minimum
        best, best_low, least = nearest, multiple(minimum, second, 0, _MOST_SCALE), np.float32(3e38)
        square = weighted_square(floats, weights, 32)
        if square > np.float32(0.0):
            for number in range(_AROUND * _FITTED):
                if number % _FITTED == 0:
                    low = -minimum
                tried = min(max(nearest + number // _FITTED - _AROUND // 2, 0), _MOST_SCALE)
                tried_low = multiple(-low, second, 0, _MOST_SCALE)
                width, begin = factor * np.float32(tried), -second * np.float32(tried_low)
                error, low = span_error(floats, weights, 32, along, square, width, begin, np.float32(most))
                if error < least:
                    best, best_low, least = tried, tried_low, error
        return best, best_low

    @numba.njit
    def quantize(floats, weights, along, spare, block):
        scales, minimums, whole, numbers = spare, spare + 32, spare + 64, spare + 128
        largest, lowest = np.float32(0.0), np.float32(0.0)
        for group in range(8):
            x, v = floats + 128 * group, weights + 128 * group
            low, high = span(x, 32, True)
            scale, minimum = np.float32(0.0), low
            if high > low:
                scale, minimum = span_search(x, v, 32, along, low, high, np.float32(most), _SPANS, True)
            store_f32(scales + 4 * group, scale)
            store_f32(minimums + 4 * group, -minimum)
            largest, lowest = max(largest, scale), max(lowest, -minimum)
        factor, second = largest / np.float32(_MOST_SCALE), lowest / np.float32(_MOST_SCALE)
        if not (fits_half(factor) and fits_half(second)):
            return False
        store_f16(block, factor)
        store_f16(block + 2, second)
        factor, second = load_f16(block), load_f16(block + 2)
        for group in range(8):
            best, best_low = multiples(
                floats + 128 * group, weights + 128 * group, along, load_f32(scales + 4 * group), factor,
                load_f32(minimums + 4 * group), second
            )
            store_byte(whole + group, best)
            store_byte(whole + 8 + group, best_low)
        lay_scales(whole, whole + 8, block + 4)
        for group in range(8):
            scale = factor * np.float32(load_byte(whole + group))
            minimum = second * np.float32(load_byte(whole + 8 + group))
            inverse = np.float32(0.0)
            if scale != np.float32(0.0):
                inverse = np.float32(1.0) / scale
            for at in range(32 * group, 32 * group + 32, 16):
                quotients = (load_vector(floats + 4 * at) + spread(minimum)) * spread(inverse)
                store_numbers(numbers + at, rounded_within(quotients, np.float32(0.0), np.float32(most)), 0)
        lay_bits(numbers, 0, 4, 32, 256, block + numbers_at)
        if bits == 5:
            lay_bits(numbers, 4, 1, 32, 256, block + 16)
        return True

    return quantize


def _q6_k() -> Any:
    first, step, count = _Q6

    @numba.njit
    def to_number(quotients):
        return rounded_within(quotients, np.float32(-32.0), np.float32(31.0))

    best = scale_search(to_number)

    @numba.njit
    def quantize(floats, weights, along, spare, block):
        scales, numbers = spare, spare + 64
        largest = np.float32(0.0)
        for group in range(16):
            x, v = floats + 64 * group, weights + 64 * group
            scale, square = np.float32(0.0), weighted_square(x, v, 16)
            if square > np.float32(0.0):
                base = bits_float(largest_bits(x, 16)) / np.float32(31.5)
                scale = best(x, v, 16, along, np.float32(first) * base, np.float32(step) * base, count, square)
            store_f32(scales + 4 * group, scale)
            if magnitude(scale) > magnitude(largest):
                largest = scale
        factor = largest / np.float32(-128.0)
        if not fits_half(factor):
            return False
        store_f16(block + 208, factor)
        factor = load_f16(block + 208)
        for group in range(16):
            whole, inverse = multiple(load_f32(scales + 4 * group), factor, -128, 127), np.float32(0.0)
            if whole != 0:
                inverse = np.float32(1.0) / (factor * np.float32(whole))
            store_byte(block + 192 + group, whole & 255)
            store_numbers(
                numbers + 16 * group, to_number(load_vector(floats + 64 * group) * spread(inverse)), 32
            )
        lay_bits(numbers, 0, 4, 64, 256, block)
        lay_bits(numbers, 4, 2, 32, 256, block + 128)
        return True

    return quantize


QUANTIZERS = {
    "Q4_K": functools.partial(_with_minimums, 4),
    "Q5_K": functools.partial(_with_minimums, 5),
    "Q6_K": _q6_k,
}

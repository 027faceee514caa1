"""Types whose 4 bits are places in a table of 16 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from ftllm_nb.checkpoint.ggml.families.table import FP4, FP4_RISING, IQ4
from ftllm_nb.kernels.blocks.bytes_of import lay_halves, store_numbers
from ftllm_nb.kernels.blocks.search import (
    fits_half,
    magnitude,
    multiple,
    scale_error,
    scale_search,
    weighted_square,
)
from ftllm_nb.kernels.emit import F32, constant, emitted
from ftllm_nb.kernels.memory import bits_float, load_f16, load_f32, store_byte, store_f16, store_f32, store_i16
from ftllm_nb.kernels.pack_integers import largest_bits
from ftllm_nb.kernels.simd import float32x16, load_vector, spread

_FIRST, _STEP, _TRIED = 0.8, 0.05, 8
"""Scales that are tried, both signs of each, in those with which the largest magnitude is the table's largest one."""
_LEAST_EXPONENT = 2
"""MXFP4's smaller scales, of 2 ** -127 and less, have no inverse in float32."""


def _nearest_by(table: Sequence[int], entries: Sequence[int]) -> Any:
    """A function that gives for each lane what `entries` has where the number of a rising table is the nearest."""

    def emit(builder, value):
        found = constant(F32, float(entries[0]))
        for at in range(1, len(table)):
            is_above = builder.fcmp_ordered(">", value, constant(F32, (table[at - 1] + table[at]) / 2))
            found = builder.select(is_above, constant(F32, float(entries[at])), found)
        return found

    return emitted(float32x16, float32x16)(emit)


_nearest_number, _nearest_place = _nearest_by(IQ4, IQ4), _nearest_by(IQ4, range(len(IQ4)))
_best = scale_search(_nearest_number)
_FP4_NUMBERS = [FP4[place] for place in FP4_RISING]


@numba.njit
def _best_scale(floats, weights, along):
    """Of 32 columns."""
    largest, square = bits_float(largest_bits(floats, 32)), weighted_square(floats, weights, 32)
    if not square > np.float32(0.0):
        return np.float32(0.0)
    base = largest / np.float32(127.0)
    return _best(floats, weights, 32, along, np.float32(_FIRST) * base, np.float32(_STEP) * base, _TRIED, square)


@numba.njit
def _write_places(floats, scale, numbers):
    """The places of 32 columns, a byte each."""
    inverse = np.float32(0.0)
    if scale != np.float32(0.0):
        inverse = np.float32(1.0) / scale
    for at in range(0, 32, 16):
        store_numbers(numbers + at, _nearest_place(load_vector(floats + 4 * at) * spread(inverse)), 0)


def _iq4_nl() -> Any:
    @numba.njit
    def quantize(floats, weights, along, spare, block):
        scale = _best_scale(floats, weights, along)
        if not fits_half(scale):
            return False
        store_f16(block, scale)
        _write_places(floats, load_f16(block), spare)
        lay_halves(spare, 16, 32, block + 2)
        return True

    return quantize


def _iq4_xs() -> Any:
    @numba.njit
    def quantize(floats, weights, along, spare, block):
        scales, numbers = spare, spare + 64
        largest = np.float32(0.0)
        for group in range(8):
            scale = _best_scale(floats + 128 * group, weights + 128 * group, along)
            store_f32(scales + 4 * group, scale)
            if magnitude(scale) > magnitude(largest):
                largest = scale
        factor = largest / np.float32(-32.0)
        if not fits_half(factor):
            return False
        store_f16(block, factor)
        factor, low, high = load_f16(block), np.int64(0), np.int64(0)
        for group in range(8):
            whole = multiple(load_f32(scales + 4 * group), factor, -32, 31)
            _write_places(floats + 128 * group, factor * np.float32(whole), numbers + 32 * group)
            code = whole + 32
            low |= (code & 15) << (4 * group)
            high |= (code >> 4) << (2 * group)
        for byte in range(4):
            store_byte(block + 4 + byte, (low >> (8 * byte)) & 255)
        store_i16(block + 2, high)
        lay_halves(numbers, 16, 256, block + 8)
        return True

    return quantize


def _mxfp4() -> Any:
    to_number, to_place = _nearest_by(_FP4_NUMBERS, _FP4_NUMBERS), _nearest_by(_FP4_NUMBERS, FP4_RISING)
    error = scale_error(to_number)

    @numba.njit
    def quantize(floats, weights, along, spare, block):
        largest, square = largest_bits(floats, 32), weighted_square(floats, weights, 32)
        found, least, first = 0, np.float32(3e38), (largest >> 23) - 2
        if square > np.float32(0.0):
            for tried in range(max(first - 1, _LEAST_EXPONENT), max(first + 1, _LEAST_EXPONENT) + 1):
                left = error(floats, weights, 32, along, square, bits_float((tried - 1) << 23))
                if left < least:
                    found, least = tried, left
        store_byte(block, found)
        inverse = np.float32(0.0)
        if found != 0:
            inverse = np.float32(1.0) / bits_float((found - 1) << 23)
        for at in range(0, 32, 16):
            store_numbers(spare + at, to_place(load_vector(floats + 4 * at) * spread(inverse)), 0)
        lay_halves(spare, 16, 32, block + 1)
        return True

    return quantize


QUANTIZERS = {"IQ4_NL": _iq4_nl, "IQ4_XS": _iq4_xs, "MXFP4": _mxfp4}

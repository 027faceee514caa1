"""Scales, and zero points, of least error for rows of weights in groups, where columns count differently.

Candidates are fractions of the scale whose levels just reach a group's largest magnitude, with both signs where the
levels reach further on one side than on the other; with zero points, those beside the nearest one are tried as well.
The best of them is fitted to its levels, which are then chosen anew, as long as that helps.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.grid_levels import weighted_error, weighted_fit
from ftllm_nb.kernels.memory import bits_float, store_byte, store_f16, store_i64
from ftllm_nb.kernels.pack_integers import INFINITY_BITS, largest_bits
from ftllm_nb.kernels.quantize_rows import as_half, bounds, nearest
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.step import argument, scalar, take_chunk

FIT = row_fields(
    "floats", "weights", "rows", "columns", "group", "low", "high", "table", "count", "largest", "apart", "tried",
    "scales", "zeros", "fault",
)  # fmt: skip
"""Arguments of the rows: the addresses of float32 [rows, columns] and of float32 [columns], how much a column's error
counts; columns of a group, a multiple of 16 that divides `columns`; the first and the last level as floats, their table
and number (kernels/grid_levels.py); the largest fraction that is tried, as a float, by how much the next ones are
smaller, and how many there are; addresses of float16 scales and of zero points (unsigned bytes, 0 for a symmetric
type), [rows, groups]; that of an int64 that becomes 1 where a weight is no finite number or a scale no float16."""
ROWS_AT_ONCE = 8
REFINED = 4
"""How often the best candidate is fitted, at most."""
_LARGEST_SCALE = np.float32(65504.0)


@numba.njit(error_model="numpy")
def _refined(floats, weights, size, best, scale, zero, low, high, table, count):
    """The scale after fitting, float16."""
    shift = np.float32(zero)
    for _ in range(REFINED):
        tried = as_half(weighted_fit(floats, weights, size, scale, low - shift, high - shift, table, count))
        if not abs(tried) <= _LARGEST_SCALE or tried == 0:
            break
        error = weighted_error(floats, weights, size, tried, low - shift, high - shift, table, count)
        if not error < best:
            break
        best, scale = error, tried
    return scale


@functools.cache
def fit_kernel(with_zeros: bool) -> Kernel:
    """A chunk is some rows."""

    @kernel(variant=f"{int(with_zeros)}")
    def fit_scales(row, step, worker):
        rows, columns, size = argument(row, FIT.rows), argument(row, FIT.columns), argument(row, FIT.group)
        low, high = scalar(row, FIT.low), scalar(row, FIT.high)
        table, count = argument(row, FIT.table), argument(row, FIT.count)
        largest, apart, tries = scalar(row, FIT.largest), scalar(row, FIT.apart), argument(row, FIT.tried)
        groups = columns // size
        signs = 1 if with_zeros or low == -high else 2
        num_chunks = (rows + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            for place in range(chunk * ROWS_AT_ONCE * groups, min(rows, (chunk + 1) * ROWS_AT_ONCE) * groups):
                floats = argument(row, FIT.floats) + 4 * size * place
                weights = argument(row, FIT.weights) + 4 * size * (place % groups)
                bits = largest_bits(floats, size)
                scale, zero, base = np.float32(0.0), np.int64(0), np.float32(0.0)
                if with_zeros:
                    smallest, greatest = bounds(floats, size)
                    base = (greatest - smallest) / (high - low)
                    if as_half(base) != 0:
                        zero = min(max(np.int64(nearest(low - smallest / base)), np.int64(low)), np.int64(high))
                else:
                    base = bits_float(bits) / ((high - low) * np.float32(0.5))
                first, best = zero, np.float32(np.inf)
                around = 1 if with_zeros and high - low < 32 else 0
                if bits >= INFINITY_BITS:
                    store_i64(argument(row, FIT.fault), 1)
                else:
                    for number in range(tries):
                        positive = as_half(base * (largest - np.float32(number) * apart))
                        if positive == 0 or positive > _LARGEST_SCALE:
                            continue
                        for sign in range(signs):
                            tried = -positive if sign else positive
                            for beside in range(first - around, first + around + 1):
                                shift = np.float32(beside)
                                if shift < low or shift > high:
                                    continue
                                error = weighted_error(
                                    floats, weights, size, tried, low - shift, high - shift, table, count
                                )
                                if error < best:
                                    best, scale, zero = error, tried, np.int64(beside)
                    if scale != 0:
                        scale = _refined(floats, weights, size, best, scale, zero, low, high, table, count)
                    elif as_half(base) > _LARGEST_SCALE:
                        store_i64(argument(row, FIT.fault), 1)
                store_f16(argument(row, FIT.scales) + 2 * place, scale)
                if with_zeros:
                    store_byte(argument(row, FIT.zeros) + place, zero - np.int64(low))
            chunk = take_chunk(worker, num_chunks)

    return fit_scales

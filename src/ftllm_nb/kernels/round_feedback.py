"""Rounding columns one after the other, each one's error made good by those that are still to come (GPTQ).

With U, upper triangular, Uᵀ · U the inverse of the inputs' second moments, rounding a column's weight w to q leaves an
error e = (w − q) / U[i, i], which the later columns j of its row take up best by w[j] −= e · U[i, j]. Here that is done
for some columns, the next ones to round; the caller does it for those after them, with all errors in one product.
"""

from __future__ import annotations

import functools

import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.grid_levels import level_of, nearest_code
from ftllm_nb.kernels.memory import load_f32, load_i32, store_byte, store_f32
from ftllm_nb.kernels.row_fields import row_fields
from ftllm_nb.kernels.simd import load_vector, spread, store_vector
from ftllm_nb.kernels.step import argument, scalar, take_chunk

FEEDBACK = row_fields(
    "floats", "stride", "rows", "first", "size", "order", "factor", "errors", "group", "groups", "low", "high", "table",
    "count", "scales", "offsets", "codes", "columns",
)  # fmt: skip
"""Arguments of the rows: the address of float32 rows, columns in the order of rounding, `stride` bytes from row to
row; the first of the `size` columns, a multiple of 16, to be rounded; addresses of int32 [columns], which column of
the matrix each is, of float32 U [size, size], 0 below the diagonal, and of float32 [rows, size] that the errors go to;
columns of a group, and how many there are; levels as for kernels/fit_scales.py; addresses of float32 [rows, groups],
the scales and what is added to level · scale (0: nothing is); that of uint8 [rows, columns], the levels' places, in the
order of the matrix."""
ROWS_AT_ONCE = 16


@functools.cache
def feedback_kernel() -> Kernel:
    """A chunk is some rows."""

    @kernel()
    def round_feedback(row, step, worker):
        rows, size = argument(row, FEEDBACK.rows), argument(row, FEEDBACK.size)
        group, groups = argument(row, FEEDBACK.group), argument(row, FEEDBACK.groups)
        first, order = argument(row, FEEDBACK.first), argument(row, FEEDBACK.order)
        factor, columns = argument(row, FEEDBACK.factor), argument(row, FEEDBACK.columns)
        low, high = scalar(row, FEEDBACK.low), scalar(row, FEEDBACK.high)
        table, count = argument(row, FEEDBACK.table), argument(row, FEEDBACK.count)
        scales, offsets = argument(row, FEEDBACK.scales), argument(row, FEEDBACK.offsets)
        num_chunks = (rows + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            for number in range(chunk * ROWS_AT_ONCE, min(rows, (chunk + 1) * ROWS_AT_ONCE)):
                floats = argument(row, FEEDBACK.floats) + number * argument(row, FEEDBACK.stride) + 4 * first
                errors = argument(row, FEEDBACK.errors) + number * size * 4
                for at in range(size):
                    column = load_i32(order + 4 * (first + at))
                    place = number * groups + column // group
                    scale, weight = load_f32(scales + 4 * place), load_f32(floats + 4 * at)
                    offset = np.float32(0.0)
                    if offsets != 0:
                        offset = load_f32(offsets + 4 * place)
                    inverse = np.float32(1.0) / scale if scale != 0 else np.float32(0.0)
                    code = nearest_code((weight - offset) * inverse, low, high, table, count)
                    store_byte(argument(row, FEEDBACK.codes) + number * columns + column, code)
                    line = factor + 4 * at * size
                    error = (weight - (level_of(code, low, table) * scale + offset)) / load_f32(line + 4 * at)
                    store_f32(errors + 4 * at, error)
                    taken = spread(error)
                    for beside in range(at // 16 * 64, 4 * size, 64):
                        value = load_vector(floats + beside) - taken * load_vector(line + beside)
                        store_vector(floats + beside, value)
            chunk = take_chunk(worker, num_chunks)

    return round_feedback

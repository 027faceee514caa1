"""Products of small matrices that each token has of its own: the operands are activations, or one of them a weight."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.memory import load_f32, store_f32
from ftllm_nb.kernels.simd import fma, load_vector_partial, spread, store_vector_partial, sum_lanes
from ftllm_nb.kernels.step import argument, field, scalar, take_chunk

(PRODUCT_FIRST, PRODUCT_FIRST_STRIDE, PRODUCT_SECOND, PRODUCT_SECOND_STRIDE, PRODUCT_OUTPUT, PRODUCT_OUTPUT_STRIDE,
 PRODUCT_BATCH, PRODUCT_GROUP, PRODUCT_ROWS, PRODUCT_INNER, PRODUCT_COLUMNS, PRODUCT_COUNT,
 PRODUCT_ALPHA) = range(13)  # fmt: skip
"""Arguments of the rows: a token has `BATCH` matrices [`ROWS`, `INNER`], each `GROUP` of which meet one second matrix;
`SECOND_STRIDE` is 0 where all tokens share the second ones; `COUNT` is the step's field with the number of tokens."""


@numba.njit
def _multiply(first, second, target, rows, inner, columns, alpha):
    """target [rows, columns] = alpha · first [rows, inner] · second [inner, columns]"""
    for at in range(rows):
        for column in range(0, columns, 16):
            total, left = spread(np.float32(0.0)), columns - column
            for index in range(inner):
                factor = spread(load_f32(first + 4 * (at * inner + index)))
                total = fma(factor, load_vector_partial(second + 4 * (index * columns + column), left), total)
            store_vector_partial(target + 4 * (at * columns + column), total * spread(alpha), left)


@numba.njit
def _multiply_transposed(first, second, target, rows, inner, columns, alpha):
    """target [rows, columns] = alpha · first [rows, inner] · second [columns, inner]ᵀ"""
    for at in range(rows):
        for column in range(columns):
            total = spread(np.float32(0.0))
            for index in range(0, inner, 16):
                left = inner - index
                value = load_vector_partial(first + 4 * (at * inner + index), left)
                total = fma(value, load_vector_partial(second + 4 * (column * inner + index), left), total)
            store_f32(target + 4 * (at * columns + column), sum_lanes(total) * alpha)


@functools.cache
def product_kernel(transposed: bool) -> Kernel:
    """A product for each matrix of each token; `transposed`: the second operands are. A chunk is a matrix."""
    multiply = _multiply_transposed if transposed else _multiply

    @kernel(variant=f"{int(transposed)}")
    def product(row, step, worker):
        batch, group = argument(row, PRODUCT_BATCH), argument(row, PRODUCT_GROUP)
        rows, inner, columns = argument(row, PRODUCT_ROWS), argument(row, PRODUCT_INNER), argument(row, PRODUCT_COLUMNS)
        num_chunks = batch * field(step, argument(row, PRODUCT_COUNT))
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            token, at = chunk // batch, chunk % batch
            first = argument(row, PRODUCT_FIRST) + token * argument(row, PRODUCT_FIRST_STRIDE)
            second = argument(row, PRODUCT_SECOND) + token * argument(row, PRODUCT_SECOND_STRIDE)
            target = argument(row, PRODUCT_OUTPUT) + token * argument(row, PRODUCT_OUTPUT_STRIDE)
            multiply(first + 4 * at * rows * inner, second + 4 * (at // group) * inner * columns,
                     target + 4 * at * rows * columns, rows, inner, columns, scalar(row, PRODUCT_ALPHA))  # fmt: skip
            chunk = take_chunk(worker, num_chunks)

    return product

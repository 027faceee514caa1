"""Activations for AMX products with bfloat16 weights: one bfloat16 each, or the sum of two.

A bfloat16 has 8 significant bits: one, rounded to the nearest, is within 2^-8 of the number, two within 2^-17.

They lie in tiles of 16 rows (the last one may have fewer), a row a part of a token: `[columns/32][rows][32]`, the parts
of a token one after the other, the larger first.
"""

from __future__ import annotations

import functools
from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.elementwise import (
    gelu_multiplied,
    gelu_of,
    gelu_tanh_multiplied,
    gelu_tanh_of,
    silu_multiplied,
)
from ftllm_nb.kernels.simd import load_vector_partial, round_bfloat16, store_upper_halves
from ftllm_nb.kernels.step import argument, field, take_chunk

TILE_ROWS = 16
"""Rows of a tile register."""
STEP_COLUMNS = 32
"""Columns of a multiplication."""
_COLUMNS_AT_ONCE = 1024
"""Columns of a chunk: one token's work is shared as well."""

(SPLIT_INPUT, SPLIT_INPUT_STRIDE, SPLIT_SECOND, SPLIT_SECOND_STRIDE, SPLIT_OUTPUT, SPLIT_OUTPUT_STRIDE, SPLIT_SIZE,
 SPLIT_COLUMNS, SPLIT_COUNT) = range(9)  # fmt: skip
"""Arguments of the kernels' rows: `SIZE` features of each token become `COLUMNS`, a multiple of 32, zeros at the end;
`COUNT` is the step's field with the number of tokens."""


def _each_split(name: str, combine: Any, parts: int) -> Kernel:
    """A kernel: output = the parts of combine(input, second). A chunk is a run of columns of a token."""

    @kernel(variant=f"{name}_{parts}")
    def each_split(row, step, worker):
        size, columns = argument(row, SPLIT_SIZE), argument(row, SPLIT_COLUMNS)
        num_rows = parts * field(step, argument(row, SPLIT_COUNT))
        stride = argument(row, SPLIT_OUTPUT_STRIDE) // parts
        runs = (columns + _COLUMNS_AT_ONCE - 1) // _COLUMNS_AT_ONCE
        num_chunks = runs * (num_rows // parts)
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            token, begin = chunk // runs, chunk % runs * _COLUMNS_AT_ONCE
            source = argument(row, SPLIT_INPUT) + token * argument(row, SPLIT_INPUT_STRIDE)
            second = argument(row, SPLIT_SECOND) + token * argument(row, SPLIT_SECOND_STRIDE)
            first = token * parts // TILE_ROWS * TILE_ROWS
            step_bytes = 64 * min(TILE_ROWS, num_rows - first)
            target = argument(row, SPLIT_OUTPUT) + first * stride + 64 * (token * parts - first)
            for at in range(begin, min(begin + _COLUMNS_AT_ONCE, columns), 16):
                a = load_vector_partial(source + 4 * at, size - at)
                b = load_vector_partial(second + 4 * at, size - at)
                value = combine(a, b, a)
                place = target + at // STEP_COLUMNS * step_bytes + at % STEP_COLUMNS * 2
                upper = round_bfloat16(value)
                store_upper_halves(place, upper)
                if parts == 2:
                    store_upper_halves(place + 64, round_bfloat16(value - upper))
            chunk = take_chunk(worker, num_chunks)

    return each_split


@numba.njit(inline="always")
def _unchanged(a, b, alpha):
    return a


@functools.cache
def split_kernel(parts: int) -> Kernel:
    """The input in `parts` (1 or 2) parts."""
    return _each_split("split", _unchanged, parts)


@functools.cache
def silu_multiply_split_kernel(parts: int) -> Kernel:
    """input · sigmoid(input) · second, in `parts` (1 or 2) parts."""
    return _each_split("silu_multiply", silu_multiplied, parts)


@functools.cache
def gelu_split_kernel(parts: int, tanh: bool) -> Kernel:
    """gelu(input), in `parts` (1 or 2) parts; `tanh`: in gelu's tanh form."""
    return _each_split("gelu_tanh", gelu_tanh_of, parts) if tanh else _each_split("gelu", gelu_of, parts)


@functools.cache
def gelu_multiply_split_kernel(parts: int, tanh: bool) -> Kernel:
    """gelu(input) · second, in `parts` (1 or 2) parts; `tanh`: in gelu's tanh form."""
    if tanh:
        return _each_split("gelu_tanh_multiply", gelu_tanh_multiplied, parts)
    return _each_split("gelu_multiply", gelu_multiplied, parts)

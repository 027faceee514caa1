"""Products of an int4 KV cache, by the tile of integer weights: queries with keys, and weights with values.

Keys of 16 positions, and 16 features of a block's values, lie as 16 rows of weights of 4 bits do (cache_layout.py).
What multiplies them lies as activations do (activation_rows.py). A query is rounded to 8 bits in the groups of its
keys, which costs a hundredth of what the keys' own rounding does. Of a block's weights most are far below the largest,
and would be lost in 8 bits: they are rounded to 16, whose upper and lower bytes are two rows. A product with values has
no scales of its own, since they differ by position: they are in the weights.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from numba.core import types

from ftllm_nb.kernels.activation_rows import OFFSET, ORIGIN, ORIGIN_VALUE, RECORD_BYTES, SCALE, SCALE_MASK, START
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, INT4_GROUP, INT4_ZERO
from ftllm_nb.kernels.emit import I32, LINE_BYTES, constant, emitted, usable_in_kernels
from ftllm_nb.kernels.integer_tile import integer_tile
from ftllm_nb.kernels.matmul_tile import BFLOAT16
from ftllm_nb.kernels.memory import bits_float, fetch_lines, float_bits, store_f32, store_i32
from ftllm_nb.kernels.quantize import quantize_group
from ftllm_nb.kernels.simd import (
    float32x16,
    int32x16,
    lane_numbers,
    load_vector,
    magnitude_bits,
    max_lanes_int,
    maximum_int,
    round_even,
    select,
    spread,
    spread_int,
    store_bytes,
    sum_lanes_int,
    to_int,
    widen_bf16,
)
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import tiled
from ftllm_nb.kernels.wide_tile import LARGEST, wide_factor

_ONES = BLOCK_POSITIONS + 16
"""From the bytes of a row of weights, past their record, to 16 ones, bfloat16, that stand for scales."""
_LOWER = 2 * LINE_BYTES
"""From a row of upper bytes to that of the lower ones."""
INT4_WEIGHTS_BYTES = 2 * _LOWER
"""Bytes from one block's weights to the next."""
_TWO_ONES = 0x3F803F80
_VALUE_VECTORS = INT4_GROUP // 16
"""Vectors of features that share scales, and so weights."""


@usable_in_kernels
def int4_query_bytes(columns: int) -> int:
    """Bytes from one query to the next."""
    return -(-(columns + columns // INT4_GROUP * RECORD_BYTES) // LINE_BYTES) * LINE_BYTES


@numba.njit
def round_query(floats, row, columns):
    """Make a row of a query's `columns` floats."""
    for group in range(columns // INT4_GROUP):
        at = group * INT4_GROUP
        quantize_group(floats + 4 * at, INT4_GROUP, row + at, row + columns + group * RECORD_BYTES, INT4_ZERO,
                       np.float32(1.0))  # fmt: skip


@emitted(float32x16, types.int64)
def load_bfloat16(builder, address):
    """16 bfloat16 at an address, widened."""
    return widen_bf16(builder, address)


@emitted(int32x16, int32x16)
def _upper(builder, numbers):
    """What numbers have of 256, rounded, so that the rest is a signed byte."""
    return builder.ashr(builder.add(numbers, constant(I32, 128)), constant(I32, 8))


@numba.njit
def _write_record(record, scale, total):
    """What follows values of this sum: see quantize.py."""
    offset = np.float32(-ORIGIN_VALUE) * scale
    store_f32(record + SCALE, -offset if np.isinf(offset) else scale)
    store_i32(record + START, ORIGIN - INT4_ZERO * total)
    store_f32(record + OFFSET, offset)


@numba.njit
def int4_weights(weights, valid, scales, row):
    """Make a row of a block's weights times the scales, bfloat16, of its `valid` first values."""
    limit, zero = spread_int(np.int32(valid)), spread(np.float32(0.0))
    bits, uppers, total = spread_int(np.int32(0)), spread_int(np.int32(0)), spread_int(np.int32(0))
    for at in range(0, BLOCK_POSITIONS, 16):
        scaled = load_vector(weights + 4 * at) * load_bfloat16(scales + 2 * at)
        if valid < at + 16:  # what follows may be anything, no number even
            scaled = select((lane_numbers() + spread_int(np.int32(at))) < limit, scaled, zero)
        bits = maximum_int(bits, magnitude_bits(scaled))
    largest = bits_float(max_lanes_int(bits))
    factor = spread(wide_factor(largest, LARGEST))
    for at in range(0, BLOCK_POSITIONS, 16):
        scaled = load_vector(weights + 4 * at) * load_bfloat16(scales + 2 * at)
        if valid < at + 16:
            scaled = select((lane_numbers() + spread_int(np.int32(at))) < limit, scaled, zero)
        numbers = to_int(round_even(scaled * factor))
        upper = _upper(numbers)
        store_bytes(row + at, upper)
        store_bytes(row + _LOWER + at, numbers)
        uppers, total = uppers + upper, total + numbers
    scale = bits_float(float_bits(largest / np.float32(LARGEST)) & SCALE_MASK)
    upper_sum = sum_lanes_int(uppers)
    _write_record(row + BLOCK_POSITIONS, scale * np.float32(256.0), upper_sum)
    _write_record(row + _LOWER + BLOCK_POSITIONS, scale, sum_lanes_int(total) - 256 * upper_sum)
    for at in range(_ONES, _ONES + 32, 4):
        store_i32(row + at, _TWO_ONES)
        store_i32(row + _LOWER + at, _TWO_ONES)


@numba.njit(inline="always")
def _key_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, following, part, parts,
              tokens, blocks):  # fmt: skip
    scales = w + 8 * columns
    integer_tile(w, block_stride, scales, scales, block_stride, x, x + columns, x_stride, start, start_stride, out,
                 out_stride, columns, following, part, parts, tokens, blocks, 4, 0, INT4_GROUP, 0,
                 BFLOAT16)  # fmt: skip


@numba.njit(inline="always")
def _value_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, following, part, parts,
                tokens, blocks):  # fmt: skip
    integer_tile(w, block_stride, x + _ONES, x + _ONES, 0, x, x + columns, x_stride, start, start_stride, out,
                 out_stride, columns, following, part, parts, tokens, blocks, 4, 0, BLOCK_POSITIONS, 0,
                 BFLOAT16)  # fmt: skip


def _many_by(fetching_tile: Any) -> Any:
    """As `tiled`."""

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks):
        fetching_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, 0, 0, 1, tokens,
                      blocks)  # fmt: skip

    tier = current_tier()
    return tiled(tile, ((tier.dot_tokens, tier.dot_blocks), (2, tier.dot_blocks), (1, _VALUE_VECTORS)))


def _group_by(fetching_tile: Any, rows: int) -> Any:
    """As `grouped`: tiles are as tall as each other, or a row less, and the first fetches what follows. Blocks are as
    many as their memory has, a multiple of 2."""
    if rows == 1:
        multiply = _many_by(fetching_tile)

        @numba.njit
        def multiply_one(
            w, block_stride, num_blocks, x, x_stride, start, start_stride, out, out_stride, columns, following
        ):
            fetch_lines(following, num_blocks * block_stride)
            multiply(w, block_stride, num_blocks, x, x_stride, 1, start, start_stride, out, out_stride, columns)

        return multiply_one

    tier = current_tier()
    count, width = -(-rows // tier.dot_tokens), tier.dot_blocks
    tall = -(-rows // count)
    tall_rows, short = (rows - count * (tall - 1)) * tall, max(1, tall - 1)

    @numba.njit
    def multiply_group(
        w, block_stride, num_blocks, x, x_stride, start, start_stride, out, out_stride, columns, following
    ):
        for block in range(0, num_blocks, width):
            weights, place, first = w + block * block_stride, out + 64 * block, start + 64 * block
            fetching_tile(weights, block_stride, x, x_stride, first, start_stride, place, out_stride, columns,
                          following + block * block_stride, 0, 1, tall, width)  # fmt: skip
            for at in range(tall, tall_rows, tall):
                fetching_tile(weights, block_stride, x + at * x_stride, x_stride, first + at * start_stride,
                              start_stride, place + at * out_stride, out_stride, columns, 0, 0, 1, tall,
                              width)  # fmt: skip
            for at in range(tall_rows, rows, short):
                fetching_tile(weights, block_stride, x + at * x_stride, x_stride, first + at * start_stride,
                              start_stride, place + at * out_stride, out_stride, columns, 0, 0, 1, short,
                              width)  # fmt: skip

    return multiply_group


@functools.cache
def int4_scores() -> Any:
    """The function that `tiled` makes for queries and keys."""
    return _many_by(_key_tile)


@functools.cache
def int4_values() -> Any:
    """The function that `tiled` makes for weights and the values that share their scales."""
    multiply = _many_by(_value_tile)

    @numba.njit
    def multiply_halves(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns):
        multiply(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns)
        multiply(w, block_stride, num_blocks, x + _LOWER, x_stride, rows, out, out_stride, out, out_stride, columns)

    return multiply_halves


@functools.cache
def int4_group_scores(rows: int) -> Any:
    """The function that `grouped` makes for queries and keys."""
    return _group_by(_key_tile, rows)


@functools.cache
def int4_group_values(rows: int) -> Any:
    """The function that `grouped` makes for weights and the values that share their scales."""
    multiply = _group_by(_value_tile, rows)

    @numba.njit
    def multiply_halves(
        w, block_stride, num_blocks, x, x_stride, start, start_stride, out, out_stride, columns, following
    ):
        multiply(w, block_stride, num_blocks, x, x_stride, start, start_stride, out, out_stride, columns, following)
        multiply(w, block_stride, num_blocks, x + _LOWER, x_stride, out, out_stride, out, out_stride, columns, w)

    return multiply_halves

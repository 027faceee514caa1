"""Keys and values into an int4 KV cache (cache_layout.py): spread by Hadamard's matrix, then rounded in groups of 32.

Of the scales that make the number of the largest magnitude −10 to −7 steps, by halves, the one with the least squared
error is taken; what is beyond −8 or 7 steps becomes that. engine/host_int4.py is the definition.
"""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.activation_rows import LEAST_MAGNITUDE
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, INT4, INT4_GROUP, INT4_ZERO, key_columns, key_tile_bytes
from ftllm_nb.kernels.emit import emitted
from ftllm_nb.kernels.hadamard import hadamard_in_place
from ftllm_nb.kernels.matmul_tile import BFLOAT16, load_weight, store_weight
from ftllm_nb.kernels.memory import bits_float, load_byte, load_i32, load_i64, store_byte, store_i32
from ftllm_nb.kernels.simd import (
    V_F32,
    float32x16,
    int32x16,
    load_vector,
    load_vector_partial,
    magnitude_bits,
    max_lanes,
    max_lanes_int,
    maximum,
    maximum_int,
    minimum_int,
    round_even,
    spread,
    spread_int,
    store_bytes,
    store_vector,
    sum_lanes,
    to_int,
)
from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_TOKENS, field

LEAST_STEPS, MOST_STEPS = 14, 20
"""Halves of a scale that the largest magnitude may be."""
SHARED_POSITIONS = 8
"""Positions whose values lie in the same vectors: two of them share each byte."""


@emitted(float32x16, int32x16)
def to_float(builder, numbers):
    """Each lane as a float."""
    return builder.sitofp(numbers, V_F32)


@numba.njit
def continues(step, slots, token):
    """Whether a token's values share bytes with those of the token before it, so that one worker writes both."""
    if token == 0 or token == field(step, STEP_TOKENS):
        return False
    block, place = slots + 8 * token, field(step, STEP_POSITIONS) + 4 * token
    if load_i64(block) != load_i64(block - 8):
        return False
    return load_i32(place) // SHARED_POSITIONS == load_i32(place - 4) // SHARED_POSITIONS


@numba.njit
def _round_by(first, second, factor):
    """Two vectors times the factor, rounded to −8 … 7."""
    lowest, highest = spread_int(np.int32(-INT4_ZERO)), spread_int(np.int32(15 - INT4_ZERO))
    return (
        minimum_int(maximum_int(to_int(round_even(first * spread(factor))), lowest), highest),
        minimum_int(maximum_int(to_int(round_even(second * spread(factor))), lowest), highest),
    )


@numba.njit
def _round_group(floats, numbers, scale_place):
    """Round 32 floats to 0 … 15, bytes at `numbers`; write their scale, bfloat16, at `scale_place`."""
    first, second = load_vector(floats), load_vector(floats + 64)
    magnitude = bits_float(max_lanes_int(maximum_int(magnitude_bits(first), magnitude_bits(second))))
    signed = -magnitude
    if max_lanes(maximum(first, second)) < magnitude:  # the largest is negative
        signed = magnitude
    best, least, best_factor = np.float32(0.0), np.float32(np.inf), np.float32(0.0)
    if not magnitude < np.float32(LEAST_MAGNITUDE):
        best = signed / np.float32(INT4_ZERO)
        for divisor in range(MOST_STEPS, LEAST_STEPS - 1, -1):
            store_weight(scale_place, signed / (np.float32(0.5) * np.float32(divisor)), BFLOAT16)
            scale = load_weight(scale_place, BFLOAT16)
            factor = np.float32(1.0) / scale
            a, b = _round_by(first, second, factor)
            a_off, b_off = first - to_float(a) * spread(scale), second - to_float(b) * spread(scale)
            error = sum_lanes(a_off * a_off + b_off * b_off)
            if error < least:
                best, best_factor, least = scale, factor, error
    store_weight(scale_place, best, BFLOAT16)
    zero = spread_int(np.int32(INT4_ZERO))
    a, b = _round_by(first, second, best_factor)
    store_bytes(numbers, a + zero)
    store_bytes(numbers + 16, b + zero)


@numba.njit
def _spread_row(source, dim, columns, floats):
    """`dim` floats, filled up with zeros, times Hadamard's matrix."""
    for at in range(0, columns, 16):
        store_vector(floats + 4 * at, load_vector_partial(source + 4 * at, dim - at))
    hadamard_in_place(floats, columns)


@numba.njit
def store_key_int4(source, dim, inside, spare, keys):
    """A key into a block, as its position `inside` the block; `spare`: memory for its floats and its numbers."""
    columns = key_columns(INT4, dim)
    numbers, place = spare + 4 * columns, keys + inside // 16 * key_tile_bytes(INT4, dim)
    _spread_row(source, dim, columns, spare)
    for group in range(columns // INT4_GROUP):
        at = group * INT4_GROUP
        _round_group(spare + 4 * at, numbers + at, place + 8 * columns + group * 32 + inside % 16 * 2)
    for at in range(0, columns, 8):
        both = load_i32(numbers + at) | load_i32(numbers + at + 4) << 4
        store_i32(place + at * 8 + inside % 16 * 4, both)


@numba.njit
def store_value_int4(source, dim, inside, spare, values):
    """A value into a block, as its position `inside` the block; `spare`: memory for its floats and its numbers."""
    columns, up = key_columns(INT4, dim), inside // 4 % 2 * 4
    numbers, scales = spare + 4 * columns, values + columns * (BLOCK_POSITIONS // 2) + 2 * inside
    _spread_row(source, dim, columns, spare)
    for group in range(columns // INT4_GROUP):
        at = group * INT4_GROUP
        _round_group(spare + 4 * at, numbers + at, scales + group * (2 * BLOCK_POSITIONS))
    kept, place = 240 >> up, values + inside // SHARED_POSITIONS * 64 + inside % 4
    for at in range(columns):
        byte = place + at // 16 * (8 * BLOCK_POSITIONS) + at % 16 * 4
        store_byte(byte, load_byte(byte) & kept | load_byte(numbers + at) << up)

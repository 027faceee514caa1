"""Rotary position embedding: turn pairs of a head's features by the angles of the token's position."""

from __future__ import annotations

import functools

import numba

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.memory import load_i32
from ftllm_nb.kernels.simd import (
    alternating,
    each_twice,
    load_vector_partial,
    store_vector_partial,
    swap_neighbours,
)
from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_TOKENS, argument, field, take_chunk


@numba.njit
def rotate_heads(rows, heads, dim, apart, pairs, sin, cos):
    """Rotate the pairs (j, j + apart), j < pairs, of each of `heads` rows of `dim` floats, in place."""
    for head in range(heads):
        base = rows + head * dim * 4
        for at in range(0, pairs, 16):
            left, second_place = pairs - at, base + 4 * (apart + at)
            first = load_vector_partial(base + 4 * at, left)
            second = load_vector_partial(second_place, left)
            sine, cosine = load_vector_partial(sin + 4 * at, left), load_vector_partial(cos + 4 * at, left)
            store_vector_partial(base + 4 * at, first * cosine - second * sine, left)
            store_vector_partial(second_place, second * cosine + first * sine, left)


@numba.njit
def rotate_neighbours(rows, heads, dim, apart, pairs, sin, cos):
    """Rotate the pairs (2 j, 2 j + 1), j < pairs, of each of `heads` rows of `dim` floats, in place; `apart` is 1."""
    for head in range(heads):
        base = rows + head * dim * 4
        for at in range(0, pairs, 8):
            left = pairs - at
            place, size = base + 8 * at, 2 * left
            sine = each_twice(load_vector_partial(sin + 4 * at, left)) * alternating()
            cosine = each_twice(load_vector_partial(cos + 4 * at, left))
            value = load_vector_partial(place, size)
            store_vector_partial(place, value * cosine + swap_neighbours(value) * sine, size)


(ROTATE, ROTATE_STRIDE, ROTATE_HEADS, ROTATE_DIM, ROTATE_APART, ROTATE_PAIRS, ROTATE_SIN, ROTATE_COS,
 ROTATE_TABLE_STRIDE) = range(9)  # fmt: skip
"""Arguments of `rotate_kernel`'s rows."""


@functools.cache
def rotate_kernel(neighbours: bool) -> Kernel:
    """Rotate each token's heads by its position, in place. A chunk is a token."""
    turn = rotate_neighbours if neighbours else rotate_heads

    @kernel(variant=f"{int(neighbours)}")
    def rotate(row, step, worker):
        num_tokens = field(step, STEP_TOKENS)
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            position = load_i32(field(step, STEP_POSITIONS) + 4 * token)
            offset = position * argument(row, ROTATE_TABLE_STRIDE)
            rows = argument(row, ROTATE) + token * argument(row, ROTATE_STRIDE)
            turn(rows, argument(row, ROTATE_HEADS), argument(row, ROTATE_DIM), argument(row, ROTATE_APART),
                 argument(row, ROTATE_PAIRS), argument(row, ROTATE_SIN) + offset,
                 argument(row, ROTATE_COS) + offset)  # fmt: skip
            token = take_chunk(worker, num_tokens)

    return rotate

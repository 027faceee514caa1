"""Kernels that measure each token's features first: what lies above a cut, and features of another's magnitude."""

from __future__ import annotations

import numba
import numpy as np

from ftllm_nb.kernels.compile import kernel
from ftllm_nb.kernels.simd import (
    fma,
    lane_numbers,
    load_vector_partial,
    maximum,
    select,
    spread,
    spread_int,
    store_vector_partial,
    sum_lanes,
)
from ftllm_nb.kernels.step import argument, field, scalar, take_chunk

(MAGNITUDE_INPUT, MAGNITUDE_INPUT_STRIDE, MAGNITUDE_OTHER, MAGNITUDE_OTHER_STRIDE, MAGNITUDE_OUTPUT,
 MAGNITUDE_OUTPUT_STRIDE, MAGNITUDE_SIZE, MAGNITUDE_COUNT, MAGNITUDE_NUMBER) = range(9)  # fmt: skip
"""Arguments of the rows of both kernels: `SIZE` features a token; `COUNT` is the step's field with the number of
tokens; `NUMBER` is `multiplier` or `eps`. Rows of `cut_below` have no `OTHER`. A chunk is a token."""


@numba.njit
def _mean_square(source, size, shift):
    """mean((source − shift)²)"""
    squares = spread(0.0)
    for at in range(0, size, 16):
        value = load_vector_partial(source + 4 * at, size - at) - spread(shift)
        value = select(lane_numbers() < spread_int(size - at), value, spread(0.0))
        squares = fma(value, value, squares)
    return sum_lanes(squares) / np.float32(size)


@kernel()
def cut_below(row, step, worker):
    """output = max(input − (mean + multiplier · standard deviation), 0)"""
    size, num_tokens = argument(row, MAGNITUDE_SIZE), field(step, argument(row, MAGNITUDE_COUNT))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, MAGNITUDE_INPUT) + token * argument(row, MAGNITUDE_INPUT_STRIDE)
        target = argument(row, MAGNITUDE_OUTPUT) + token * argument(row, MAGNITUDE_OUTPUT_STRIDE)
        total = spread(0.0)
        for at in range(0, size, 16):
            total = total + load_vector_partial(source + 4 * at, size - at)
        mean = sum_lanes(total) / np.float32(size)
        cut = spread(mean + scalar(row, MAGNITUDE_NUMBER) * np.sqrt(_mean_square(source, size, mean)))
        for at in range(0, size, 16):
            value = load_vector_partial(source + 4 * at, size - at) - cut
            store_vector_partial(target + 4 * at, maximum(value, spread(0.0)), size - at)
        token = take_chunk(worker, num_tokens)


@kernel()
def match_magnitude(row, step, worker):
    """output = input · sqrt(mean(other²)) / sqrt(max(mean(input²), eps))"""
    size, num_tokens = argument(row, MAGNITUDE_SIZE), field(step, argument(row, MAGNITUDE_COUNT))
    none = np.float32(0.0)
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, MAGNITUDE_INPUT) + token * argument(row, MAGNITUDE_INPUT_STRIDE)
        other = argument(row, MAGNITUDE_OTHER) + token * argument(row, MAGNITUDE_OTHER_STRIDE)
        target = argument(row, MAGNITUDE_OUTPUT) + token * argument(row, MAGNITUDE_OUTPUT_STRIDE)
        own = max(_mean_square(source, size, none), scalar(row, MAGNITUDE_NUMBER))
        factor = spread(np.sqrt(_mean_square(other, size, none)) / np.sqrt(own))
        for at in range(0, size, 16):
            store_vector_partial(target + 4 * at, load_vector_partial(source + 4 * at, size - at) * factor, size - at)
        token = take_chunk(worker, num_tokens)

"""Kernels on each token's runs of features: softmax, factors and summands that many features share, gates of pairs."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.elementwise import add_scaled_to, multiplied
from ftllm_nb.kernels.exp import exp, sigmoid
from ftllm_nb.kernels.memory import copy_bytes, load_f32, load_i32, store_f32
from ftllm_nb.kernels.simd import (
    evens,
    lane_numbers,
    load_vector_partial,
    max_lanes,
    maximum,
    odds,
    select,
    spread,
    spread_int,
    store_vector_partial,
    sum_lanes,
)
from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_TOKENS, argument, field, scalar, take_chunk

(SOFTMAX_INPUT, SOFTMAX_INPUT_STRIDE, SOFTMAX_OUTPUT, SOFTMAX_OUTPUT_STRIDE, SOFTMAX_SIZE, SOFTMAX_RUNS,
 SOFTMAX_COUNT) = range(7)  # fmt: skip
"""Arguments of `softmax`'s rows: each token has `RUNS` runs of `SIZE` features; `COUNT` is the step's field with the
number of tokens, here and below."""


@numba.njit(inline="always")
def _below(value, count, other):
    """The first `count` lanes, `other` beyond them."""
    return select(lane_numbers() < spread_int(count), value, other)


@numba.njit(error_model="numpy")
def soften(source, target, size):
    """target = e^(source − max) / Σ e^(source − max)"""
    low = spread(-np.inf)
    largest = low
    for at in range(0, size, 16):
        value = load_vector_partial(source + 4 * at, size - at)
        largest = maximum(_below(value, size - at, low), largest)
    shift, total = spread(max_lanes(largest)), spread(0.0)
    for at in range(0, size, 16):
        value = exp(load_vector_partial(source + 4 * at, size - at) - shift)
        store_vector_partial(target + 4 * at, value, size - at)
        total = total + _below(value, size - at, spread(0.0))
    factor = spread(np.float32(1.0) / sum_lanes(total))
    for at in range(0, size, 16):
        value = load_vector_partial(target + 4 * at, size - at)
        store_vector_partial(target + 4 * at, value * factor, size - at)


@kernel()
def softmax(row, step, worker):
    """Softmax of each run. A chunk is a run."""
    size, runs = argument(row, SOFTMAX_SIZE), argument(row, SOFTMAX_RUNS)
    num_chunks = runs * field(step, argument(row, SOFTMAX_COUNT))
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        token, offset = chunk // runs, 4 * size * (chunk % runs)
        source = argument(row, SOFTMAX_INPUT) + token * argument(row, SOFTMAX_INPUT_STRIDE)
        target = argument(row, SOFTMAX_OUTPUT) + token * argument(row, SOFTMAX_OUTPUT_STRIDE)
        soften(source + offset, target + offset, size)
        chunk = take_chunk(worker, num_chunks)


(SHARED_FIRST, SHARED_FIRST_STRIDE, SHARED_SECOND, SHARED_SECOND_STRIDE, SHARED_SECOND_STEP, SHARED_OUTPUT,
 SHARED_OUTPUT_STRIDE, SHARED_SIZE, SHARED_RUNS, SHARED_COUNT, SHARED_ALPHA) = range(11)  # fmt: skip
"""Arguments of the rows of the four kernels below: each token has `RUNS` runs of `SIZE` features; `SECOND_STEP` is how
many bytes after that of one run the next run's second operand lies, `SECOND_STRIDE` the same of tokens."""


def _shared(name: str, combine: Any, is_number: bool) -> Kernel:
    """A kernel: output = combine(first, second, alpha), where a run has one number or one vector as its second operand.

    A chunk is a token.
    """

    @kernel(variant=f"{name}_{int(is_number)}")
    def shared(row, step, worker):
        size, alpha = argument(row, SHARED_SIZE), spread(scalar(row, SHARED_ALPHA))
        num_tokens = field(step, argument(row, SHARED_COUNT))
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            first = argument(row, SHARED_FIRST) + token * argument(row, SHARED_FIRST_STRIDE)
            second = argument(row, SHARED_SECOND) + token * argument(row, SHARED_SECOND_STRIDE)
            out = argument(row, SHARED_OUTPUT) + token * argument(row, SHARED_OUTPUT_STRIDE)
            for run in range(argument(row, SHARED_RUNS)):
                offset, other = 4 * size * run, second + run * argument(row, SHARED_SECOND_STEP)
                for at in range(0, size, 16):
                    left = size - at
                    a = load_vector_partial(first + offset + 4 * at, left)
                    b = spread(load_f32(other)) if is_number else load_vector_partial(other + 4 * at, left)
                    store_vector_partial(out + offset + 4 * at, combine(a, b, alpha), left)
            token = take_chunk(worker, num_tokens)

    return shared


add_shared_number = _shared("add", add_scaled_to, True)
"""first + alpha · a number of the run"""
add_shared_vector = _shared("add", add_scaled_to, False)
"""first + alpha · a vector that all runs share"""
multiply_shared_number = _shared("multiply", multiplied, True)
"""first · a number of the run"""
multiply_shared_vector = _shared("multiply", multiplied, False)
"""first · a vector that all runs share"""

(PAIRS_INPUT, PAIRS_INPUT_STRIDE, PAIRS_OUTPUT, PAIRS_OUTPUT_STRIDE, PAIRS_SIZE, PAIRS_COUNT, PAIRS_ALPHA,
 PAIRS_LIMIT) = range(8)  # fmt: skip
"""Arguments of the rows of the gates of pairs: `SIZE` features come out of each token's twice as many."""


def _pairs(name: str, combine: Any) -> Kernel:
    """A kernel: output[i] = combine(input[2 i], input[2 i + 1], alpha, limit). A chunk is a token."""

    @kernel(variant=name)
    def pairs(row, step, worker):
        size = argument(row, PAIRS_SIZE)
        alpha, limit = spread(scalar(row, PAIRS_ALPHA)), spread(scalar(row, PAIRS_LIMIT))
        num_tokens = field(step, argument(row, PAIRS_COUNT))
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            source = argument(row, PAIRS_INPUT) + token * argument(row, PAIRS_INPUT_STRIDE)
            target = argument(row, PAIRS_OUTPUT) + token * argument(row, PAIRS_OUTPUT_STRIDE)
            for at in range(0, size, 16):
                left = 2 * (size - at)
                lower = load_vector_partial(source + 8 * at, left)
                upper = load_vector_partial(source + 8 * at + 64, left - 16)
                value = combine(evens(lower, upper), odds(lower, upper), alpha, limit)
                store_vector_partial(target + 4 * at, value, size - at)
            token = take_chunk(worker, num_tokens)

    return pairs


@numba.njit(inline="always")
def _silu_gate(gate, up, alpha, limit):
    return gate * sigmoid(gate) * up


@numba.njit(inline="always")
def _limited_gate(gate, up, alpha, limit):
    """(u + 1) · g · sigmoid(alpha · g), g at most the limit, u between minus the limit and the limit."""
    lowest = spread(0.0) - limit
    gate = select(gate > limit, limit, gate)
    up = select(up > limit, limit, select(up < lowest, lowest, up))
    return (up + spread(1.0)) * (gate * sigmoid(alpha * gate))


silu_pairs = _pairs("silu", _silu_gate)
"""input[2 i] · sigmoid(input[2 i]) · input[2 i + 1]"""
limited_pairs = _pairs("limited", _limited_gate)
"""the gate of gpt-oss"""

(SCALE_ROWS, SCALE_ROWS_STRIDE, SCALE_SIZE, SCALE_FACTORS) = range(4)
"""Arguments of `scale_by_position`'s rows: `FACTORS` is the address of float32 [positions]."""


@kernel()
def scale_by_position(row, step, worker):
    """Multiply each token's features by its position's factor, in place. A chunk is a token."""
    size = argument(row, SCALE_SIZE)
    num_tokens = field(step, STEP_TOKENS)
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        position = load_i32(field(step, STEP_POSITIONS) + 4 * token)
        factor = spread(load_f32(argument(row, SCALE_FACTORS) + 4 * position))
        place = argument(row, SCALE_ROWS) + token * argument(row, SCALE_ROWS_STRIDE)
        for at in range(0, size, 16):
            value = load_vector_partial(place + 4 * at, size - at)
            store_vector_partial(place + 4 * at, value * factor, size - at)
        token = take_chunk(worker, num_tokens)


PERMUTED_AXES = 4
"""Axes after the tokens that `permute` can reorder."""
PERMUTE_INPUT, PERMUTE_INPUT_STRIDE, PERMUTE_OUTPUT, PERMUTE_OUTPUT_STRIDE, PERMUTE_COUNT, PERMUTE_SIZES = range(6)
PERMUTE_STEPS = PERMUTE_SIZES + PERMUTED_AXES
"""Arguments of `permute`'s rows: `SIZES` are those of the output's axes after the tokens, the first of them 1 where
there are fewer; `STEPS` the bytes from one element of the input to the next along these axes."""


@kernel()
def permute(row, step, worker):
    """Each token's features in another order of axes. A chunk is a token."""
    size0, size1 = argument(row, PERMUTE_SIZES), argument(row, PERMUTE_SIZES + 1)
    size2, size3 = argument(row, PERMUTE_SIZES + 2), argument(row, PERMUTE_SIZES + 3)
    step0, step1 = argument(row, PERMUTE_STEPS), argument(row, PERMUTE_STEPS + 1)
    step2, step3 = argument(row, PERMUTE_STEPS + 2), argument(row, PERMUTE_STEPS + 3)
    num_tokens = field(step, argument(row, PERMUTE_COUNT))
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        source = argument(row, PERMUTE_INPUT) + token * argument(row, PERMUTE_INPUT_STRIDE)
        target = argument(row, PERMUTE_OUTPUT) + token * argument(row, PERMUTE_OUTPUT_STRIDE)
        for at0 in range(size0):
            for at1 in range(size1):
                for at2 in range(size2):
                    place = source + at0 * step0 + at1 * step1 + at2 * step2
                    if step3 == 4:
                        copy_bytes(target, place, 4 * size3)
                    else:
                        for at3 in range(size3):
                            store_f32(target + 4 * at3, load_f32(place + at3 * step3))
                    target += 4 * size3
        token = take_chunk(worker, num_tokens)

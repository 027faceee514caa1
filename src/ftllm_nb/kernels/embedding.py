"""Rows of a packed matrix by token id."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.hadamard import MOST_ROWS, hadamard_in_place, hadamard_size, weights_share
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES, load_weight
from ftllm_nb.kernels.memory import load_byte, load_f16, load_f32, load_i32, store_f32
from ftllm_nb.kernels.stack import room
from ftllm_nb.kernels.step import STEP_TOKENS, argument, field, take_chunk
from ftllm_nb.kernels.sums import MIDDLE

(EMBEDDING_WEIGHT, EMBEDDING_BLOCK_STRIDE, EMBEDDING_COLUMNS, EMBEDDING_FEATURES, EMBEDDING_OUTPUT,
 EMBEDDING_OUTPUT_STRIDE, EMBEDDING_IDS, EMBEDDING_ROWS) = range(8)  # fmt: skip
"""Arguments of a row: `COLUMNS` of the packed matrix, of which the first `FEATURES` are wanted; `IDS` is the step's
field that holds the address of the row numbers, int32 [tokens]. Numbers from `ROWS` on mean row 0; none is negative."""


@numba.njit(inline="always")
def row_number(row, ids, token):
    """The number of the row that a token's id names."""
    number = load_i32(ids + 4 * token)
    return number if number < argument(row, EMBEDDING_ROWS) else 0


@functools.cache
def embedding_kernel(kind: int) -> Kernel:
    """out[t] = the float matrix's row that the t-th id names, as float32. A chunk is a token."""
    weight_bytes = WEIGHT_BYTES[kind]

    @kernel(variant=f"{kind}")
    def embedding(row, step, worker):
        features, ids = argument(row, EMBEDDING_FEATURES), field(step, argument(row, EMBEDDING_IDS))
        num_tokens = field(step, STEP_TOKENS)
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            token_id = row_number(row, ids, token)
            block = argument(row, EMBEDDING_WEIGHT) + token_id // 16 * argument(row, EMBEDDING_BLOCK_STRIDE)
            source = block + token_id % 16 * weight_bytes
            target = argument(row, EMBEDDING_OUTPUT) + token * argument(row, EMBEDDING_OUTPUT_STRIDE)
            for _ in range(features):
                store_f32(target, load_weight(source, kind))
                source += 16 * weight_bytes
                target += 4
            token = take_chunk(worker, num_tokens)

    return embedding


@numba.njit
def _integer_weight(block, lane, column, bits):
    """The unsigned value at a row (of a block) and column."""
    if bits == 8:
        return load_byte(block + column // 4 * 64 + lane * 4 + column % 4)
    both = load_byte(block + column // 8 * 64 + lane * 4 + column % 4)
    return both >> 4 if column & 4 else both & 15


@functools.cache
def integer_embedding_kernel(bits: int, group: int, with_zeros: int, scale_kind: int) -> Kernel:
    """out[t] = the integer matrix's row that the t-th id names, times its scales, as float32. A chunk is a token."""
    middle, scale_bytes = MIDDLE[bits], WEIGHT_BYTES[scale_kind]

    @kernel(variant=f"{bits}_{group}_{with_zeros}_{scale_kind}")
    def integer_embedding(row, step, worker):
        features, ids = argument(row, EMBEDDING_FEATURES), field(step, argument(row, EMBEDDING_IDS))
        columns = argument(row, EMBEDDING_COLUMNS)
        width = columns if group == 0 else group
        num_tokens = field(step, STEP_TOKENS)
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            token_id = row_number(row, ids, token)
            block = argument(row, EMBEDDING_WEIGHT) + token_id // 16 * argument(row, EMBEDDING_BLOCK_STRIDE)
            lane = token_id % 16
            scales = block + columns * 2 * bits
            zeros = scales + columns // width * 16 * scale_bytes
            target = argument(row, EMBEDDING_OUTPUT) + token * argument(row, EMBEDDING_OUTPUT_STRIDE)
            for first in range(0, features, width):
                place = first // width * 16 + lane
                scale, zero = load_weight(scales + place * scale_bytes, scale_kind), middle
                if with_zeros:
                    zero = load_byte(zeros + place)
                for column in range(first, min(first + width, features)):
                    value = np.float32(_integer_weight(block, lane, column, bits) - zero)
                    store_f32(target + 4 * column, value * scale)
            token = take_chunk(worker, num_tokens)

    return integer_embedding


@functools.cache
def spread_embedding_kernel(bits: int, group: int) -> Kernel:
    """The same of a matrix that `pack_integers_kernel` has spread, which is undone. A chunk is a token."""
    middle, memory = MIDDLE[bits], room(4 * MOST_ROWS)

    @kernel(variant=f"{bits}_{group}")
    def spread_embedding(row, step, worker):
        features, ids = argument(row, EMBEDDING_FEATURES), field(step, argument(row, EMBEDDING_IDS))
        columns, floats = argument(row, EMBEDDING_COLUMNS), memory()
        width = columns if group == 0 else group
        run = hadamard_size(width)
        share = np.float32(weights_share(width)) / np.float32(run)
        num_tokens = field(step, STEP_TOKENS)
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            token_id = row_number(row, ids, token)
            block = argument(row, EMBEDDING_WEIGHT) + token_id // 16 * argument(row, EMBEDDING_BLOCK_STRIDE)
            lane = token_id % 16
            scales = block + columns * 2 * bits + lane * 2
            target = argument(row, EMBEDDING_OUTPUT) + token * argument(row, EMBEDDING_OUTPUT_STRIDE)
            for first in range(0, features, run):
                scale = load_f16(scales + first // width * 32)
                for at in range(run):
                    value = np.float32(_integer_weight(block, lane, first + at, bits) - middle)
                    store_f32(floats + 4 * at, value * scale)
                hadamard_in_place(floats, run)
                for at in range(min(run, features - first)):
                    store_f32(target + 4 * (first + at), load_f32(floats + 4 * at) * share)
            token = take_chunk(worker, num_tokens)

    return spread_embedding

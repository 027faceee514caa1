"""Into the KV cache: rotate queries and keys by their positions, and store keys and values."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.cache_layout import (
    BLOCK_POSITIONS,
    INT4,
    key_bytes,
    key_kind,
    padded,
    value_bytes,
    value_kind,
)
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.hadamard import hadamard_in_place
from ftllm_nb.kernels.int4_rows import continues, store_key_int4, store_value_int4
from ftllm_nb.kernels.matmul_tile import FLOAT32, INT8, WEIGHT_BYTES, store_weight
from ftllm_nb.kernels.memory import (
    bits_float,
    load_byte,
    load_f32,
    load_i32,
    load_i64,
    store_byte,
    store_f32,
    store_i32,
)
from ftllm_nb.kernels.quantize import scales_for
from ftllm_nb.kernels.rotation import rotate_heads
from ftllm_nb.kernels.simd import (
    load_vector_partial,
    magnitude_bits,
    max_lanes_int,
    maximum_int,
    round_even,
    spread,
    spread_int,
    store_bytes,
    store_vector,
    to_int,
)
from ftllm_nb.kernels.step import (
    STEP_NUM_TILES,
    STEP_POSITIONS,
    STEP_SLOTS,
    STEP_TOKENS,
    WORKER_SCRATCH,
    argument,
    field,
    take_chunk,
)

(
    STORE_KEY, STORE_KEY_STRIDE, STORE_VALUE, STORE_VALUE_STRIDE, STORE_KV_HEADS, STORE_KEY_DIM, STORE_VALUE_DIM,
    STORE_KEYS, STORE_VALUES,
    ROTATE_QUERY, ROTATE_QUERY_STRIDE, ROTATE_HEADS, ROTATE_QUERY_PAIRS, ROTATE_KEY_PAIRS, ROTATE_SIN, ROTATE_COS,
    ROTATE_TABLE_STRIDE, STORE_GROUP,
) = range(18)  # fmt: skip
"""Arguments of `store_kernel`'s rows. `…_PAIRS`: 0 where nothing is to be rotated. `GROUP`: of layers, whose blocks
`KEYS` and `VALUES` are places in."""

_TOKENS_AT_ONCE = 16
"""Tokens of a chunk: neighbouring positions of a sequence share cache lines of the keys."""


@numba.njit
def _round_row(source, size, target, scale_place):
    """Round a key or value to bytes, with 128 for zero and as padding; write its scale at `scale_place`."""
    bits = spread_int(np.int32(0))
    for at in range(0, size, 16):
        bits = maximum_int(bits, magnitude_bits(load_vector_partial(source + 4 * at, size - at)))
    factor, scale = scales_for(bits_float(max_lanes_int(bits)))
    store_f32(scale_place, scale)
    for at in range(0, size, 16):
        numbers = to_int(round_even(load_vector_partial(source + 4 * at, size - at) * spread(factor)))
        store_bytes(target + at, numbers + spread_int(np.int32(128)))


@numba.njit
def _store_key_bytes(source, dim, is_value, inside, spare, keys):
    """A key into an int8 block, as its position `inside` the block; `spare`: memory for its floats and its bytes.
    `is_value`: whether it is a value as well, which hadamard.py does not change."""
    columns = padded(dim)
    place, size = keys + inside // 16 * (16 * columns + 64), dim
    if not is_value:
        for at in range(0, dim, 16):
            store_vector(spare + 4 * at, load_vector_partial(source + 4 * at, dim - at))
        hadamard_in_place(spare, columns)
        source, size, spare = spare, columns, spare + 4 * columns
    _round_row(source, size, spare, place + 16 * columns + inside % 16 * 4)
    for at in range(0, columns, 4):
        store_i32(place + at * 16 + inside % 16 * 4, load_i32(spare + at))


@numba.njit
def _store_value_bytes(source, dim, inside, spare, values):
    """A value into an int8 block, as its position `inside` the block; `spare`: memory for its bytes."""
    place = values + inside // 4 * 64 + inside % 4
    _round_row(source, dim, spare, values + BLOCK_POSITIONS * padded(dim) + 4 * inside)
    for at in range(dim):
        store_byte(place + at // 16 * (16 * BLOCK_POSITIONS) + at % 16 * 4, load_byte(spare + at))


@numba.njit(inline="always")
def _store_key(source, dim, inside, keys, kind, element):
    """A key of floats into a block, as its position `inside` the block."""
    place = keys + (inside // 16 * dim * 16 + inside % 16) * element
    for at in range(dim):
        store_weight(place, load_f32(source + at * 4), kind)
        place += 16 * element


@numba.njit(inline="always")
def _store_value(source, dim, inside, values, kind, element):
    """A value of floats into a block, as its position `inside` the block."""
    place = values + inside * 16 * element
    for at in range(dim):
        store_weight(place + (at // 16 * BLOCK_POSITIONS * 16 + at % 16) * element, load_f32(source + at * 4), kind)


@functools.cache
def store_kernel(kind: int) -> Kernel:
    """Rotate each token's query and key, then write key and value to the token's place in the cache."""
    int8_keys, int4_keys = key_kind(kind) == INT8, kind == INT4
    int8_values, int4_values = kind == INT8, value_kind(kind) == INT4
    float_kind = FLOAT32 if int8_keys or int4_keys else kind
    element = WEIGHT_BYTES[float_kind]

    @kernel(variant=f"{kind}")
    def rotate_and_store(row, step, worker):
        key_dim, value_dim = argument(row, STORE_KEY_DIM), argument(row, STORE_VALUE_DIM)
        kv_heads = argument(row, STORE_KV_HEADS)
        num_tokens, spare, apart = field(step, STEP_TOKENS), field(worker, WORKER_SCRATCH), key_dim // 2
        slots = field(step, STEP_SLOTS) + 8 * num_tokens * argument(row, STORE_GROUP)
        at_once = _TOKENS_AT_ONCE
        if field(step, STEP_NUM_TILES) == 0:
            at_once = 1  # every token is of another sequence
        num_chunks = (num_tokens + at_once - 1) // at_once
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            begin, end = chunk * at_once, min((chunk + 1) * at_once, num_tokens)
            if int4_values:
                while continues(step, slots, begin):
                    begin += 1
                while continues(step, slots, end):
                    end += 1
            for token in range(begin, end):
                position = load_i32(field(step, STEP_POSITIONS) + 4 * token)
                inside = position % BLOCK_POSITIONS
                sin = argument(row, ROTATE_SIN) + position * argument(row, ROTATE_TABLE_STRIDE)
                cos = argument(row, ROTATE_COS) + position * argument(row, ROTATE_TABLE_STRIDE)
                key = argument(row, STORE_KEY) + token * argument(row, STORE_KEY_STRIDE)
                value = argument(row, STORE_VALUE) + token * argument(row, STORE_VALUE_STRIDE)
                query = argument(row, ROTATE_QUERY) + token * argument(row, ROTATE_QUERY_STRIDE)
                query_pairs, key_pairs = argument(row, ROTATE_QUERY_PAIRS), argument(row, ROTATE_KEY_PAIRS)
                rotate_heads(query, argument(row, ROTATE_HEADS), key_dim, apart, query_pairs, sin, cos)
                rotate_heads(key, kv_heads, key_dim, apart, key_pairs, sin, cos)
                base = load_i64(slots + 8 * token)
                keys, values = base + argument(row, STORE_KEYS), base + argument(row, STORE_VALUES)
                for head in range(kv_heads):
                    source = key + head * key_dim * 4
                    if int4_keys:
                        store_key_int4(source, key_dim, inside, spare, keys)
                    elif int8_keys:
                        _store_key_bytes(source, key_dim, value_dim == 0, inside, spare, keys)
                    else:
                        _store_key(source, key_dim, inside, keys, float_kind, element)
                    keys += key_bytes(kind, key_dim)
                    if value_dim == 0:  # a value is a part of its key
                        continue
                    source = value + head * value_dim * 4
                    if int4_values:
                        store_value_int4(source, value_dim, inside, spare, values)
                    elif int8_values:
                        _store_value_bytes(source, value_dim, inside, spare, values)
                    else:
                        _store_value(source, value_dim, inside, values, float_kind, element)
                    values += value_bytes(kind, value_dim)
            chunk = take_chunk(worker, num_chunks)

    return rotate_and_store

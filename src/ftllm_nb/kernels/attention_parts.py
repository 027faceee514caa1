"""What attention of a tile of tokens and of single tokens have in common: the steps of online softmax.

SPAN_BLOCKS cache blocks, the first of a sequence, the next, and so on, are a span. Each gives, for a query, its largest
score m, the sum l of exp(score − m), and the sum of values weighted with exp(score − m). Spans are merged in the order
of their positions, by the same arithmetic whoever computed them. Queries, and weights before they multiply values,
become wide rows (wide_tile.py) where the cache holds int8, and rows of bytes (int4_products.py) where it holds int4: a
block's weights with its values' scales in them.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.cache_layout import (
    BLOCK_POSITIONS,
    INT4,
    SPAN_POSITIONS,
    key_columns,
    key_kind,
    padded,
    value_columns,
    value_kind,
)
from ftllm_nb.kernels.emit import usable_in_kernels
from ftllm_nb.kernels.exp import exp_to_one, tanh
from ftllm_nb.kernels.hadamard import hadamard_in_place, hadamard_size
from ftllm_nb.kernels.int4_products import INT4_WEIGHTS_BYTES, int4_query_bytes, int4_weights, round_query
from ftllm_nb.kernels.matmul_tile import INT8
from ftllm_nb.kernels.memory import bits_float, load_f32, load_i64, store_f32
from ftllm_nb.kernels.simd import (
    fma,
    lane,
    lane_numbers,
    load_vector,
    load_vector_partial,
    magnitude_bits,
    max_lanes_int,
    maximum,
    maximum_int,
    pair,
    round_even,
    select,
    spread,
    spread_int,
    store_vector,
    store_vector_partial,
    to_int,
)
from ftllm_nb.kernels.step import SEQUENCE_TABLES, argument, field
from ftllm_nb.kernels.wide_tile import LARGEST, finish_wide, store_wide, wide_bytes, wide_factor, widen_row

SCORES_STRIDE = 4 * SPAN_POSITIONS
"""Bytes of a query's scores."""
WEIGHTS_STRIDE = max(wide_bytes(BLOCK_POSITIONS), INT4_WEIGHTS_BYTES)
"""Bytes from one row of integers of weights to the next."""
MINUS_INFINITY = np.float32(-np.inf)

(
    ATTEND_QUERY, ATTEND_QUERY_STRIDE, ATTEND_OUTPUT, ATTEND_OUTPUT_STRIDE, ATTEND_HEADS, ATTEND_KV_HEADS,
    ATTEND_KEY_DIM, ATTEND_VALUE_DIM, ATTEND_KEYS, ATTEND_VALUES, ATTEND_SCALE, ATTEND_CAUSAL, ATTEND_WINDOW,
    ATTEND_CHUNK, ATTEND_SOFTCAP, ATTEND_SINKS, ATTEND_GROUP,
) = range(17)  # fmt: skip
"""Arguments of the rows of all three kernels. `KEYS` and `VALUES`: the layer's places inside a cache block. `WINDOW`,
`CHUNK`: see `first_seen`. `SOFTCAP`: 0 for none. `SINKS`: address of float32 [heads], 0 for none. `GROUP`: of layers,
whose blocks they are."""


@numba.njit
def block_table(row, sequence):
    """Address of the addresses of a sequence's blocks in the row's group of layers."""
    return load_i64(field(sequence, SEQUENCE_TABLES) + 8 * argument(row, ATTEND_GROUP))


@usable_in_kernels
def query_bytes(kind: int, key_dim: int) -> int:
    """Bytes of a gathered query."""
    if kind == INT4:
        return int4_query_bytes(key_columns(kind, key_dim))
    return wide_bytes(key_columns(kind, key_dim)) if key_kind(kind) == INT8 else 4 * key_dim


@functools.cache
def gather_queries(kind: int, are_latent: bool) -> Any:
    """A function that makes rows of the queries of some tokens' heads `first_head` … + `group`, scaled, for the product
    with keys of type `kind`: floats [tokens · group, dim], or rows of integers; `floats` is memory for one row.
    `are_latent`: keys are values as well, and were stored as they are."""
    is_integer, is_int4 = key_kind(kind) in (INT8, INT4), kind == INT4

    @numba.njit
    def gather(query, stride, first_head, group, tokens, dim, scale, target, floats):
        factor, columns = spread(scale), key_columns(kind, dim)
        if is_integer and not are_latent:
            factor = spread(scale / np.float32(hadamard_size(columns)))
        for token in range(tokens):
            for head in range(group):
                source = query + token * stride + (first_head + head) * dim * 4
                if is_integer:
                    for at in range(0, columns, 16):
                        store_vector(floats + 4 * at, load_vector_partial(source + 4 * at, dim - at) * factor)
                    if not are_latent:
                        hadamard_in_place(floats, columns)
                    if is_int4:
                        round_query(floats, target, columns)
                    else:
                        widen_row(floats, target, columns)
                else:
                    for at in range(0, dim, 16):
                        value = load_vector_partial(source + 4 * at, dim - at) * factor
                        store_vector_partial(target + 4 * at, value, dim - at)
                target += query_bytes(kind, dim)

    return gather


@numba.njit
def first_seen(position, window, chunk):
    """The first position that a token sees: of a window, which holds so many keys, its own included; of a chunk, the
    beginning of the one that it is in. 0 for neither. Never falls as the position grows."""
    first = 0
    if window > 0:
        first = max(0, position + 1 - window)
    if chunk > 0:
        first = max(first, position // chunk * chunk)
    return first


@numba.njit
def judge(scores, begin, valid, softcap, largest):
    """Cap a block's scores at ±softcap, where that is not 0, and make those before `begin` and from `valid` on −∞;
    returns the lanes' `largest` ones so far."""
    limit, lowest = spread_int(np.int32(valid)), spread(MINUS_INFINITY)
    for at in range(0, BLOCK_POSITIONS, 16):
        score = load_vector(scores + 4 * at)
        if softcap != 0.0:
            score = tanh(score / spread(softcap)) * spread(softcap)
            store_vector(scores + 4 * at, score)
        if valid < at + 16 or at < begin:
            numbers = lane_numbers() + spread_int(np.int32(at))
            score = select(numbers < limit, score, lowest)
            score = select(numbers < spread_int(np.int32(begin)), lowest, score)
            store_vector(scores + 4 * at, score)
        largest = maximum(largest, score)
    return largest


@numba.njit
def weigh(scores, m, totals):
    """Turn a block's scores into exp(score − m); returns the lanes' `totals` with them."""
    for at in range(0, BLOCK_POSITIONS, 16):
        weight = exp_to_one(load_vector(scores + 4 * at) - spread(m))
        store_vector(scores + 4 * at, weight)
        totals = totals + weight
    return totals


@numba.njit
def widen_weights(weights, valid, scales, row):
    """Make a wide row of a block's weights, which are used up, times the scales, float32, of its `valid` first
    values."""
    limit, zero = spread_int(np.int32(valid)), spread(np.float32(0.0))
    bits, sums = spread_int(np.int32(0)), spread_int(np.int32(0))
    for at in range(0, BLOCK_POSITIONS, 16):
        scaled = load_vector(weights + 4 * at) * load_vector(scales + 4 * at)
        if valid < at + 16:  # what follows may be anything, no number even
            scaled = select((lane_numbers() + spread_int(np.int32(at))) < limit, scaled, zero)
        store_vector(weights + 4 * at, scaled)
        bits = maximum_int(bits, magnitude_bits(scaled))
    largest = bits_float(max_lanes_int(bits))
    factor = spread(wide_factor(largest, LARGEST))
    for at in range(0, BLOCK_POSITIONS, 16):
        numbers = to_int(round_even(load_vector(weights + 4 * at) * factor))
        store_wide(row, BLOCK_POSITIONS, at, numbers)
        sums = sums + numbers
    finish_wide(row, BLOCK_POSITIONS, largest / np.float32(LARGEST), sums)


def weights_by(kind: int) -> Any:
    """A function that makes a row of integers of a block's weights, of so many valid positions, for the product with
    values of type `kind` that have these scales."""
    return int4_weights if value_kind(kind) == INT4 else widen_weights


@usable_in_kernels
def vectors_at_once(kind: int, value_dim: int) -> int:
    """Vectors of a value's features that share their scales, and so the rows that multiply them."""
    return 2 if value_kind(kind) == INT4 else padded(value_dim) // 16


@numba.njit
def merge(running, totals, span_values, span_m, span_l, value_vectors):
    """Add one span's result to the running one: values at `running`, and m, l at `totals`."""
    m = load_f32(totals)
    new_m = max(m, span_m)
    factors = exp_to_one(pair(m - new_m, span_m - new_m))
    old, new = lane(factors, 0), lane(factors, 1)
    store_f32(totals, new_m)
    store_f32(totals + 4, load_f32(totals + 4) * old + span_l * new)
    old_factor, new_factor = spread(old), spread(new)
    for at in range(0, 64 * value_vectors, 64):
        added = load_vector(span_values + at) * new_factor
        store_vector(running + at, fma(load_vector(running + at), old_factor, added))


@numba.njit
def add_sink(running, totals, sinks, head, zeros, value_vectors):
    """Let a head's sink have its part of the weight: it is a span of one key, whose value is zero. `sinks`: address of
    float32 [heads], 0 where there are none."""
    if sinks != 0:
        merge(running, totals, zeros, load_f32(sinks + 4 * head), np.float32(1.0), value_vectors)


@functools.cache
def finish_by(kind: int) -> Any:
    """A function that writes out = the running values / l; of an int4 cache as they were before Hadamard's matrix."""
    is_spread = value_kind(kind) == INT4

    @numba.njit
    def finish(running, totals, out, value_dim):
        l = load_f32(totals + 4)  # noqa: E741  (the letter of the online softmax's papers)
        if is_spread:
            columns = value_columns(kind, value_dim)
            hadamard_in_place(running, columns)
            l *= np.float32(hadamard_size(columns))  # noqa: E741  (a power of two)
        for at in range(0, value_dim, 16):
            store_vector_partial(out + 4 * at, load_vector(running + 4 * at) / spread(l), value_dim - at)

    return finish


@usable_in_kernels
def zeros_floats(kind: int, value_dim: int) -> int:
    """Floats of the zeros that products of a worker begin with: as long as a row of scores of a block, or of values."""
    return max(BLOCK_POSITIONS, value_columns(kind, value_dim))


@usable_in_kernels
def floats_of_key(kind: int, key_dim: int) -> int:
    """Floats of a query that is being gathered."""
    return padded(key_columns(kind, key_dim))

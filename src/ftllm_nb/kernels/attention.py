"""Attention over the blocked KV cache: online softmax, one span of cache blocks at a time.

A cache block holds BLOCK_POSITIONS positions of all layers. For each layer and kv head, keys lie as a matrix of
positions, `[positions/16][key dim][16]`, and values as a matrix of features, `[value dim/16][positions][16]`: the
layout of the matmul tile's weights, so that scores and results are plain matrix products. In an int8 cache each
key and each value has a scale of its own: scores are multiplied by the keys' scales, and what multiplies the values
by the values'.

SPAN_BLOCKS blocks, the first of a sequence, the next, and so on, are a span. Each gives, for a query, its largest score
m, the sum l of exp(score − m), and the sum of values weighted with exp(score − m). Spans are merged in the order of
their positions, by the same arithmetic whether one worker walks them (`attend`, a tile of tokens) or several compute
them apart (`attend_split`, then `merge_splits`). So a token's result does not depend on the tokens beside it, nor on
the number of threads.
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.exp import exp
from ftllm_nb.kernels.matmul import float_matmul, group_matmul
from ftllm_nb.kernels.matmul_tile import INT8, WEIGHT_BYTES
from ftllm_nb.kernels.memory import load_f32, load_i64, store_f32
from ftllm_nb.kernels.simd import (
    fma,
    lane,
    lane_numbers,
    load_vector,
    load_vector_partial,
    max_lanes,
    maximum,
    pair,
    select,
    spread,
    spread_int,
    store_vector,
    store_vector_partial,
    sum_lanes,
)
from ftllm_nb.kernels.step import (
    MERGE_FIELDS,
    MERGE_PARTIAL,
    MERGE_SPANS,
    MERGE_TOKEN,
    SEQUENCE_BLOCKS,
    SEQUENCE_FIELDS,
    SEQUENCE_FIRST_TOKEN,
    SEQUENCE_LENGTH,
    SEQUENCE_START,
    SPLIT_FIELDS,
    SPLIT_FIRST_BLOCK,
    SPLIT_PARTIAL,
    SPLIT_SEQUENCE,
    SPLIT_TOKEN,
    STEP_MERGES,
    STEP_NUM_MERGES,
    STEP_NUM_SPLITS,
    STEP_NUM_TILES,
    STEP_PARTIALS,
    STEP_SEQUENCES,
    STEP_SPLITS,
    STEP_TILES,
    TILE_FIELDS,
    TILE_FIRST_TOKEN,
    TILE_SEQUENCE,
    TILE_TOKENS,
    WORKER_SCRATCH,
    argument,
    field,
    scalar,
    take_chunk,
)
from ftllm_nb.kernels.tiers import current_tier

BLOCK_POSITIONS = 64
"""Positions of a cache block."""
SPAN_BLOCKS = 4
"""Cache blocks of a span: few merges of spans, and enough spans of a long context for all workers."""
SPAN_POSITIONS = SPAN_BLOCKS * BLOCK_POSITIONS
_SCORES_STRIDE = 4 * SPAN_POSITIONS
"""Bytes of a query's scores."""

TILE_ROWS = 96
"""About how many query rows (tokens × heads of one kv head) a tile has."""

(
    ATTEND_QUERY, ATTEND_QUERY_STRIDE, ATTEND_OUTPUT, ATTEND_OUTPUT_STRIDE, ATTEND_HEADS, ATTEND_KV_HEADS,
    ATTEND_KEY_DIM, ATTEND_VALUE_DIM, ATTEND_KEYS, ATTEND_VALUES, ATTEND_SCALE, ATTEND_CAUSAL,
) = range(12)  # fmt: skip
"""Arguments of the rows of all three kernels. `KEYS` and `VALUES`: the layer's places inside a cache block."""

_MINUS_INFINITY = np.float32(-np.inf)


def padded(size: int) -> int:
    """A size rounded up to whole vectors."""
    return -(-size // 16) * 16


def scale_bytes(kind: int) -> int:
    """Bytes of the scales, float32 [positions], that follow the keys, or the values, of a kv head in a cache block."""
    return 4 * BLOCK_POSITIONS if kind == INT8 else 0


def head_bytes(kind: int, features: int) -> int:
    """Bytes of the keys, or values, of a kv head in a cache block."""
    return BLOCK_POSITIONS * features * WEIGHT_BYTES[kind] + scale_bytes(kind)


def tile_tokens(heads: int, kv_heads: int) -> int:
    """Tokens of a tile, so that it has at most about TILE_ROWS rows, which fill the matmul's tiles."""
    group, height = heads // kv_heads, current_tier().tile_tokens
    step = height // math.gcd(group, height)
    return max(1, TILE_ROWS // group // step * step or TILE_ROWS // group)


def scratch_bytes(heads: int, kv_heads: int, key_dim: int, value_dim: int) -> int:
    """Scratch memory that `attend` and `attend_split` need of each worker."""
    rows = tile_tokens(heads, kv_heads) * (heads // kv_heads)
    return 4 * (max(64, padded(value_dim)) + rows * (key_dim + SPAN_POSITIONS + 2 * padded(value_dim) + 4))


def partial_floats(heads: int, value_dim: int) -> int:
    """Floats that one span's partial results of one token take: for each head m, l, padding, values."""
    return heads * (16 + padded(value_dim))


@numba.njit
def _judge(scores, valid, filled, largest):
    """Make a row of scores −∞ from `valid` on, up to `filled`; returns the lanes' `largest` ones so far."""
    limit, lowest = spread_int(np.int32(valid)), spread(_MINUS_INFINITY)
    for at in range(0, filled, 16):
        seen = (lane_numbers() + spread_int(np.int32(at))) < limit
        score = select(seen, load_vector(scores + 4 * at), lowest)
        store_vector(scores + 4 * at, score)
        largest = maximum(largest, score)
    return largest


@numba.njit
def _weigh(scores, filled, m, totals):
    """Turn a row of scores into exp(score − m); returns the lanes' `totals` with them."""
    for at in range(0, filled, 16):
        weight = exp(load_vector(scores + 4 * at) - spread(m))
        store_vector(scores + 4 * at, weight)
        totals = totals + weight
    return totals


@numba.njit
def _multiply_block(scores, scales):
    """Multiply a row of BLOCK_POSITIONS numbers by the positions' scales."""
    for at in range(0, 4 * BLOCK_POSITIONS, 64):
        store_vector(scores + at, load_vector(scores + at) * load_vector(scales + at))


@numba.njit
def _merge(running, totals, span_values, span_m, span_l, value_vectors):
    """Add one span's result to the running one: values at `running`, and m, l at `totals`."""
    m = load_f32(totals)
    new_m = max(m, span_m)
    factors = exp(pair(m - new_m, span_m - new_m))
    old, new = lane(factors, 0), lane(factors, 1)
    store_f32(totals, new_m)
    store_f32(totals + 4, load_f32(totals + 4) * old + span_l * new)
    old_factor, new_factor = spread(old), spread(new)
    for at in range(0, 64 * value_vectors, 64):
        added = load_vector(span_values + at) * new_factor
        store_vector(running + at, fma(load_vector(running + at), old_factor, added))


@numba.njit
def _finish(running, totals, out, value_dim):
    """out = the running values / l."""
    l = spread(load_f32(totals + 4))  # noqa: E741  (the letter of the online softmax's papers)
    for at in range(0, value_dim, 16):
        store_vector_partial(out + 4 * at, load_vector(running + 4 * at) / l, value_dim - at)


@numba.njit
def _gather_queries(query, stride, first_head, group, tokens, dim, scale, target):
    """The scaled queries of some tokens' heads first_head … + group as rows [tokens · group, dim]."""
    factor = spread(scale)
    for token in range(tokens):
        for head in range(group):
            source = query + token * stride + (first_head + head) * dim * 4
            place = target + (token * group + head) * dim * 4
            for at in range(0, dim, 16):
                value = load_vector_partial(source + 4 * at, dim - at) * factor
                store_vector_partial(place + 4 * at, value, dim - at)


@functools.cache
def attend_kernel(kind: int) -> Kernel:
    """Attention of tiles of tokens; the cache's type is `kind`. A chunk is a tile and a kv head."""
    element, scales = WEIGHT_BYTES[kind], scale_bytes(kind)
    matmul = float_matmul(kind)

    @kernel(variant=f"{kind}")
    def attend(row, step, worker):
        heads, kv_heads = argument(row, ATTEND_HEADS), argument(row, ATTEND_KV_HEADS)
        key_dim, value_dim = argument(row, ATTEND_KEY_DIM), argument(row, ATTEND_VALUE_DIM)
        query_stride, out_stride = argument(row, ATTEND_QUERY_STRIDE), argument(row, ATTEND_OUTPUT_STRIDE)
        group, value_vectors = heads // kv_heads, (value_dim + 15) // 16
        zeros = field(worker, WORKER_SCRATCH)
        num_chunks = field(step, STEP_NUM_TILES) * kv_heads
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            tile, kv_head = field(step, STEP_TILES) + chunk // kv_heads * (8 * TILE_FIELDS), chunk % kv_heads
            sequence = field(step, STEP_SEQUENCES) + field(tile, TILE_SEQUENCE) * (8 * SEQUENCE_FIELDS)
            first_token, tokens = field(tile, TILE_FIRST_TOKEN), field(tile, TILE_TOKENS)
            first_position = field(sequence, SEQUENCE_START) + first_token - field(sequence, SEQUENCE_FIRST_TOKEN)
            end = field(sequence, SEQUENCE_LENGTH)
            if argument(row, ATTEND_CAUSAL) != 0:
                end = first_position + tokens
            rows = tokens * group
            queries = zeros + 4 * max(64, 16 * value_vectors)
            scores = queries + rows * key_dim * 4
            running = scores + rows * _SCORES_STRIDE
            span_values = running + rows * value_vectors * 64
            totals = span_values + rows * value_vectors * 64
            found = totals + 8 * rows
            for at in range(0, max(64, 16 * value_vectors), 16):
                store_vector(zeros + 4 * at, spread(0.0))
            for at in range(rows * value_vectors):
                store_vector(running + 64 * at, spread(0.0))
            for at in range(rows):
                store_f32(totals + 8 * at, _MINUS_INFINITY)
                store_f32(totals + 8 * at + 4, 0.0)
            _gather_queries(
                argument(row, ATTEND_QUERY) + first_token * query_stride, query_stride, kv_head * group, group,
                tokens, key_dim, scalar(row, ATTEND_SCALE), queries)  # fmt: skip
            for start in range(0, end, SPAN_POSITIONS):
                filled = min(SPAN_POSITIONS, end - start)
                # Rows whose position is before a block see nothing of it; a tile's rows are in order.
                skipped = 0
                for at in range(0, filled, BLOCK_POSITIONS):
                    if argument(row, ATTEND_CAUSAL) != 0:
                        skipped = max(0, start + at - first_position) * group
                    keys = load_i64(field(sequence, SEQUENCE_BLOCKS) + 8 * ((start + at) // BLOCK_POSITIONS))
                    keys += argument(row, ATTEND_KEYS) + kv_head * (BLOCK_POSITIONS * key_dim * element + scales)
                    places = scores + skipped * _SCORES_STRIDE + 4 * at
                    matmul(keys, 16 * key_dim * element, (min(BLOCK_POSITIONS, filled - at) + 15) // 16,
                           queries + skipped * key_dim * 4, key_dim * 4, rows - skipped, zeros, 0,
                           places, _SCORES_STRIDE, key_dim)  # fmt: skip
                    if scales != 0:
                        for line in range(rows - skipped):
                            _multiply_block(places + line * _SCORES_STRIDE, keys + BLOCK_POSITIONS * key_dim)
                first_row = 0
                if argument(row, ATTEND_CAUSAL) != 0:
                    first_row = max(0, start - first_position) * group
                for at in range(first_row, rows):
                    valid = filled
                    if argument(row, ATTEND_CAUSAL) != 0:
                        valid = min(filled, first_position + at // group + 1 - start)
                    row_scores = scores + at * _SCORES_STRIDE
                    m = max_lanes(_judge(row_scores, valid, filled, spread(_MINUS_INFINITY)))
                    store_f32(found + 8 * at, m)
                    store_f32(found + 8 * at + 4, sum_lanes(_weigh(row_scores, filled, m, spread(0.0))))
                for at in range(0, filled, BLOCK_POSITIONS):
                    if argument(row, ATTEND_CAUSAL) != 0:
                        skipped = max(0, start + at - first_position) * group
                    values = load_i64(field(sequence, SEQUENCE_BLOCKS) + 8 * ((start + at) // BLOCK_POSITIONS))
                    value_bytes = BLOCK_POSITIONS * 16 * value_vectors * element
                    values += argument(row, ATTEND_VALUES) + kv_head * (value_bytes + scales)
                    places = scores + skipped * _SCORES_STRIDE + 4 * at
                    if scales != 0:
                        for line in range(rows - skipped):
                            _multiply_block(places + line * _SCORES_STRIDE, values + value_bytes)
                    results = span_values + skipped * value_vectors * 64
                    before, before_stride = (zeros, 0) if at == 0 else (results, value_vectors * 64)
                    matmul(values, BLOCK_POSITIONS * 16 * element, value_vectors, places, _SCORES_STRIDE,
                           rows - skipped, before, before_stride, results, value_vectors * 64,
                           min(BLOCK_POSITIONS, filled - at))  # fmt: skip
                for at in range(first_row, rows):
                    _merge(running + at * value_vectors * 64, totals + 8 * at,
                           span_values + at * value_vectors * 64, load_f32(found + 8 * at),
                           load_f32(found + 8 * at + 4), value_vectors)  # fmt: skip
            for at in range(rows):
                out = argument(row, ATTEND_OUTPUT) + (first_token + at // group) * out_stride
                out += (kv_head * group + at % group) * value_dim * 4
                _finish(running + at * value_vectors * 64, totals + 8 * at, out, value_dim)
            chunk = take_chunk(worker, num_chunks)

    return attend


@numba.njit
def _first_keys(row, step, chunk, kv_heads, key_bytes):
    """Address of the first keys that a chunk of `attend_split` reads."""
    split = field(step, STEP_SPLITS) + chunk // kv_heads * (8 * SPLIT_FIELDS)
    sequence = field(step, STEP_SEQUENCES) + field(split, SPLIT_SEQUENCE) * (8 * SEQUENCE_FIELDS)
    block = load_i64(field(sequence, SEQUENCE_BLOCKS) + 8 * field(split, SPLIT_FIRST_BLOCK))
    return block + argument(row, ATTEND_KEYS) + chunk % kv_heads * key_bytes


@functools.cache
def attend_split_kernel(kind: int, group: int) -> Kernel:
    """Attention of single tokens, a span of positions each: m, l and values. A chunk is a span and a kv head.

    `kind`: the cache's type; `group`: query heads of a kv head, one product's rows.
    """
    element, scales = WEIGHT_BYTES[kind], scale_bytes(kind)
    matmul = group_matmul(kind, group)

    @kernel(variant=f"{kind}_{group}")
    def attend_split(row, step, worker):
        heads, kv_heads = argument(row, ATTEND_HEADS), argument(row, ATTEND_KV_HEADS)
        key_dim, value_dim = argument(row, ATTEND_KEY_DIM), argument(row, ATTEND_VALUE_DIM)
        value_vectors, key_bytes = (value_dim + 15) // 16, BLOCK_POSITIONS * key_dim * element + scales
        record = 64 + value_vectors * 64
        zeros = field(worker, WORKER_SCRATCH)
        queries = zeros + 4 * max(64, 16 * value_vectors)
        scores = queries + group * key_dim * 4
        lanes = scores + group * _SCORES_STRIDE
        num_chunks = field(step, STEP_NUM_SPLITS) * kv_heads
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            split, kv_head = field(step, STEP_SPLITS) + chunk // kv_heads * (8 * SPLIT_FIELDS), chunk % kv_heads
            sequence = field(step, STEP_SEQUENCES) + field(split, SPLIT_SEQUENCE) * (8 * SEQUENCE_FIELDS)
            end = field(sequence, SEQUENCE_LENGTH)
            for at in range(0, max(64, 16 * value_vectors), 16):
                store_vector(zeros + 4 * at, spread(0.0))
            _gather_queries(
                argument(row, ATTEND_QUERY) + field(split, SPLIT_TOKEN) * argument(row, ATTEND_QUERY_STRIDE), 0,
                kv_head * group, group, 1, key_dim, scalar(row, ATTEND_SCALE), queries)  # fmt: skip
            partial = field(step, STEP_PARTIALS)
            partial += (field(split, SPLIT_PARTIAL) * heads + kv_head * group) * record
            blocks = field(sequence, SEQUENCE_BLOCKS) + 8 * field(split, SPLIT_FIRST_BLOCK)
            filled = min(SPAN_POSITIONS, end - field(split, SPLIT_FIRST_BLOCK) * BLOCK_POSITIONS)
            keys_place = argument(row, ATTEND_KEYS) + kv_head * key_bytes
            value_bytes = BLOCK_POSITIONS * 16 * value_vectors * element
            values_place = argument(row, ATTEND_VALUES) + kv_head * (value_bytes + scales)
            next_keys = _first_keys(row, step, min(chunk + 1, num_chunks - 1), kv_heads, key_bytes)
            for head in range(group):
                store_vector(lanes + 64 * head, spread(_MINUS_INFINITY))
            for at in range(0, filled, BLOCK_POSITIONS):
                size = min(BLOCK_POSITIONS, filled - at)
                keys = load_i64(blocks + at // BLOCK_POSITIONS * 8) + keys_place
                following = load_i64(blocks) + values_place
                if at + BLOCK_POSITIONS < filled:
                    following = load_i64(blocks + at // BLOCK_POSITIONS * 8 + 8) + keys_place
                matmul(keys, 16 * key_dim * element, (size + 15) // 16, queries, key_dim * 4, zeros, 0,
                       scores + 4 * at, _SCORES_STRIDE, key_dim, following)  # fmt: skip
                for head in range(group):
                    if scales != 0:
                        _multiply_block(scores + head * _SCORES_STRIDE + 4 * at, keys + BLOCK_POSITIONS * key_dim)
                    largest = load_vector(lanes + 64 * head)
                    largest = _judge(scores + head * _SCORES_STRIDE + 4 * at, size, size, largest)
                    store_vector(lanes + 64 * head, largest)
            for head in range(group):
                store_f32(partial + head * record, max_lanes(load_vector(lanes + 64 * head)))
                store_vector(lanes + 64 * head, spread(0.0))
            for at in range(0, filled, BLOCK_POSITIONS):
                size = min(BLOCK_POSITIONS, filled - at)
                values = load_i64(blocks + at // BLOCK_POSITIONS * 8) + values_place
                following = next_keys
                if at + BLOCK_POSITIONS < filled:
                    following = load_i64(blocks + at // BLOCK_POSITIONS * 8 + 8) + values_place
                for head in range(group):
                    m, totals = load_f32(partial + head * record), load_vector(lanes + 64 * head)
                    totals = _weigh(scores + head * _SCORES_STRIDE + 4 * at, size, m, totals)
                    store_vector(lanes + 64 * head, totals)
                    if scales != 0:
                        _multiply_block(scores + head * _SCORES_STRIDE + 4 * at, values + value_bytes)
                before, before_stride = (zeros, 0) if at == 0 else (partial + 64, record)
                matmul(values, BLOCK_POSITIONS * 16 * element, value_vectors, scores + 4 * at, _SCORES_STRIDE,
                       before, before_stride, partial + 64, record, size, following)  # fmt: skip
            for head in range(group):
                store_f32(partial + head * record + 4, sum_lanes(load_vector(lanes + 64 * head)))
            chunk = take_chunk(worker, num_chunks)

    return attend_split


@kernel()
def merge_splits(row, step, worker):
    """Put the parts of `attend_split` together, in the order of their positions. A chunk is a token and a head."""
    heads, value_dim = argument(row, ATTEND_HEADS), argument(row, ATTEND_VALUE_DIM)
    value_vectors = (value_dim + 15) // 16
    record = 64 + value_vectors * 64
    totals = field(worker, WORKER_SCRATCH)
    running = totals + 64
    num_chunks = field(step, STEP_NUM_MERGES) * heads
    chunk = take_chunk(worker, num_chunks)
    while chunk >= 0:
        merge, head = field(step, STEP_MERGES) + chunk // heads * (8 * MERGE_FIELDS), chunk % heads
        store_f32(totals, _MINUS_INFINITY)
        store_f32(totals + 4, 0.0)
        for at in range(value_vectors):
            store_vector(running + 64 * at, spread(0.0))
        partial = field(step, STEP_PARTIALS) + (field(merge, MERGE_PARTIAL) * heads + head) * record
        for _ in range(field(merge, MERGE_SPANS)):
            _merge(running, totals, partial + 64, load_f32(partial), load_f32(partial + 4), value_vectors)
            partial += heads * record
        out = argument(row, ATTEND_OUTPUT) + field(merge, MERGE_TOKEN) * argument(row, ATTEND_OUTPUT_STRIDE)
        _finish(running, totals, out + head * value_dim * 4, value_dim)
        chunk = take_chunk(worker, num_chunks)

"""Attention of single tokens: each span of a sequence on its own, so that all workers have a part, then a merge.

Here keys and values are read once for a few rows, so that products and memory must overlap: each product asks for
what the next one reads.
"""

from __future__ import annotations

import functools

import numba

from ftllm_nb.kernels.attention_parts import (
    ATTEND_CHUNK,
    ATTEND_HEADS,
    ATTEND_KEY_DIM,
    ATTEND_KEYS,
    ATTEND_KV_HEADS,
    ATTEND_OUTPUT,
    ATTEND_OUTPUT_STRIDE,
    ATTEND_QUERY,
    ATTEND_QUERY_STRIDE,
    ATTEND_SCALE,
    ATTEND_SINKS,
    ATTEND_SOFTCAP,
    ATTEND_VALUE_DIM,
    ATTEND_VALUES,
    ATTEND_WINDOW,
    MINUS_INFINITY,
    SCORES_STRIDE,
    WEIGHTS_STRIDE,
    add_sink,
    block_table,
    finish_by,
    first_seen,
    floats_of_key,
    gather_queries,
    judge,
    merge,
    query_bytes,
    vectors_at_once,
    weigh,
    weights_by,
    zeros_floats,
)
from ftllm_nb.kernels.attention_products import group_products
from ftllm_nb.kernels.cache_layout import (
    BLOCK_POSITIONS,
    INT4,
    SPAN_POSITIONS,
    key_bytes,
    key_columns,
    key_kind,
    key_tile_bytes,
    value_bytes,
    value_columns,
    value_kind,
    value_scales_bytes,
    value_tile_bytes,
)
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.latent_values import lay_values
from ftllm_nb.kernels.matmul_tile import FLOAT32, INT8
from ftllm_nb.kernels.memory import fetch_lines, load_f32, load_i32, load_i64, store_f32
from ftllm_nb.kernels.simd import load_vector, max_lanes, spread, store_vector, sum_lanes
from ftllm_nb.kernels.step import (
    MERGE_FIELDS,
    MERGE_PARTIAL,
    MERGE_SPANS,
    MERGE_TOKEN,
    SEQUENCE_FIELDS,
    SEQUENCE_LENGTH,
    SPLIT_FIELDS,
    SPLIT_FIRST_BLOCK,
    SPLIT_PARTIAL,
    SPLIT_SEQUENCE,
    SPLIT_TOKEN,
    STEP_MERGES,
    STEP_NUM_MERGES,
    STEP_NUM_SPLITS,
    STEP_PARTIALS,
    STEP_POSITIONS,
    STEP_SEQUENCES,
    STEP_SPLITS,
    WORKER_SCRATCH,
    argument,
    field,
    scalar,
    take_chunk,
)


def partial_floats(kind: int, heads: int, value_dim: int) -> int:
    """Floats that one span's partial results of one token take: for each head m, l, padding, values."""
    return heads * (16 + value_columns(kind, value_dim))


@numba.njit
def first_keys(row, step, chunk, kv_heads, head_bytes):
    """Address of the first keys that a chunk of `attend_split` reads."""
    split = field(step, STEP_SPLITS) + chunk // kv_heads * (8 * SPLIT_FIELDS)
    sequence = field(step, STEP_SEQUENCES) + field(split, SPLIT_SEQUENCE) * (8 * SEQUENCE_FIELDS)
    block = load_i64(block_table(row, sequence) + 8 * field(split, SPLIT_FIRST_BLOCK))
    return block + argument(row, ATTEND_KEYS) + chunk % kv_heads * head_bytes


@functools.cache
def attend_split_kernel(kind: int, group: int, are_latent: bool = False) -> Kernel:
    """Attention of single tokens, a span of positions each: m, l and values. A chunk is a span and a kv head.

    `kind`: the cache's type; `group`: query heads of a kv head, one product's rows; `are_latent`: values are the first
    features of keys, and not stored (latent_values.py).
    """
    is_integer, value_tile = key_kind(kind) in (INT8, INT4), value_tile_bytes(kind)
    score, combine = group_products(kind, group)
    gather, weigh_values = gather_queries(kind, are_latent), weights_by(kind)
    lay = lay_values(FLOAT32 if value_kind(kind) == INT4 else kind)  # int4 is never latent

    @kernel(variant=f"{kind}_{group}_latent" if are_latent else f"{kind}_{group}")
    def attend_split(row, step, worker):
        heads, kv_heads = argument(row, ATTEND_HEADS), argument(row, ATTEND_KV_HEADS)
        key_dim, value_dim = argument(row, ATTEND_KEY_DIM), argument(row, ATTEND_VALUE_DIM)
        value_vectors, vectors = value_columns(kind, value_dim) // 16, vectors_at_once(kind, value_dim)
        record = 64 + value_vectors * 64
        columns, gathered = key_columns(kind, key_dim), query_bytes(kind, key_dim)
        key_tile, head_keys = key_tile_bytes(kind, key_dim), key_bytes(kind, key_dim)
        values_size, scales_size = value_vectors * value_tile, value_scales_bytes(kind, value_dim)
        zeros = field(worker, WORKER_SCRATCH)
        floats = zeros + 4 * zeros_floats(kind, value_dim)
        laid = floats + 4 * floats_of_key(kind, key_dim)
        queries = laid
        if are_latent:
            queries += value_bytes(kind, value_dim)
        scores = queries + group * gathered
        weights = scores + group * SCORES_STRIDE
        lanes = weights + group * WEIGHTS_STRIDE
        for at in range(0, 4 * zeros_floats(kind, value_dim), 64):
            store_vector(zeros + at, spread(0.0))
        window, sight, softcap = argument(row, ATTEND_WINDOW), argument(row, ATTEND_CHUNK), scalar(row, ATTEND_SOFTCAP)
        num_chunks = field(step, STEP_NUM_SPLITS) * kv_heads
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            split, kv_head = field(step, STEP_SPLITS) + chunk // kv_heads * (8 * SPLIT_FIELDS), chunk % kv_heads
            sequence = field(step, STEP_SEQUENCES) + field(split, SPLIT_SEQUENCE) * (8 * SEQUENCE_FIELDS)
            end = field(sequence, SEQUENCE_LENGTH)
            start = field(split, SPLIT_FIRST_BLOCK) * BLOCK_POSITIONS
            # What the token does not see: negative from its window's beginning on. Blocks before may be gone.
            hidden = first_seen(end - 1, window, sight) - start
            if hidden >= SPAN_POSITIONS:
                chunk = take_chunk(worker, num_chunks)
                continue
            first_block = max(0, hidden) // BLOCK_POSITIONS * BLOCK_POSITIONS
            gather(argument(row, ATTEND_QUERY) + field(split, SPLIT_TOKEN) * argument(row, ATTEND_QUERY_STRIDE), 0,
                   kv_head * group, group, 1, key_dim, scalar(row, ATTEND_SCALE), queries, floats)  # fmt: skip
            partial = field(step, STEP_PARTIALS)
            partial += (field(split, SPLIT_PARTIAL) * heads + kv_head * group) * record
            blocks = block_table(row, sequence) + 8 * field(split, SPLIT_FIRST_BLOCK)
            filled = min(SPAN_POSITIONS, end - start)
            first_entry = blocks + first_block // BLOCK_POSITIONS * 8
            keys_place = argument(row, ATTEND_KEYS) + kv_head * head_keys
            values_place = argument(row, ATTEND_VALUES) + kv_head * value_bytes(kind, value_dim)
            if are_latent:
                values_place = keys_place
            next_keys = first_keys(row, step, min(chunk + 1, num_chunks - 1), kv_heads, head_keys)
            for head in range(group):
                store_vector(lanes + 64 * head, spread(MINUS_INFINITY))
            for at in range(first_block, filled, BLOCK_POSITIONS):
                size = min(BLOCK_POSITIONS, filled - at)
                keys = load_i64(blocks + at // BLOCK_POSITIONS * 8) + keys_place
                following, scales_place = load_i64(first_entry) + values_place, values_size
                if at + BLOCK_POSITIONS < filled:
                    following = load_i64(blocks + at // BLOCK_POSITIONS * 8 + 8) + keys_place
                    scales_place = head_keys - scales_size
                if is_integer:  # products fetch as many bytes as they multiply, which leaves as many as scales have
                    fetch_lines(following + scales_place, scales_size)
                score(keys, key_tile, (size + 15) // 16, queries, gathered, zeros, 0, scores + 4 * at,
                      SCORES_STRIDE, columns, following)  # fmt: skip
                for head in range(group):
                    largest = judge(scores + head * SCORES_STRIDE + 4 * at, hidden - at, size, softcap,
                                    load_vector(lanes + 64 * head))  # fmt: skip
                    store_vector(lanes + 64 * head, largest)
            for head in range(group):
                store_f32(partial + head * record, max_lanes(load_vector(lanes + 64 * head)))
                store_vector(lanes + 64 * head, spread(0.0))
            for at in range(first_block, filled, BLOCK_POSITIONS):
                size = min(BLOCK_POSITIONS, filled - at)
                values = load_i64(blocks + at // BLOCK_POSITIONS * 8) + values_place
                if are_latent:
                    lay(values, key_dim, value_dim, laid)
                    values = laid
                following, scales_place = next_keys, head_keys - scales_size
                if at + BLOCK_POSITIONS < filled:
                    following = load_i64(blocks + at // BLOCK_POSITIONS * 8 + 8) + values_place
                    scales_place = values_size
                for head in range(group):
                    total = weigh(scores + head * SCORES_STRIDE + 4 * at, load_f32(partial + head * record),
                                  load_vector(lanes + 64 * head))  # fmt: skip
                    store_vector(lanes + 64 * head, total)
                before, before_stride = (zeros, 0) if at == first_block else (partial + 64, record)
                if is_integer:
                    fetch_lines(following + scales_place, scales_size)
                    found_scales = values + values_size
                    for vector in range(0, value_vectors, vectors):
                        for head in range(group):
                            weigh_values(scores + head * SCORES_STRIDE + 4 * at, size, found_scales,
                                         weights + head * WEIGHTS_STRIDE)  # fmt: skip
                        combine(values + vector * value_tile, value_tile, vectors, weights, WEIGHTS_STRIDE,
                                before + 64 * vector, before_stride, partial + 64 + 64 * vector, record,
                                BLOCK_POSITIONS, following + vector * value_tile)  # fmt: skip
                        found_scales += scales_size * vectors // value_vectors
                else:
                    combine(values, value_tile, value_vectors, scores + 4 * at, SCORES_STRIDE, before, before_stride,
                            partial + 64, record, size, following)  # fmt: skip
            for head in range(group):
                store_f32(partial + head * record + 4, sum_lanes(load_vector(lanes + 64 * head)))
            chunk = take_chunk(worker, num_chunks)

    return attend_split


def merge_kernel(kind: int) -> Kernel:
    """The kernel that puts the parts of `attend_split` together, in the order of their positions."""
    return _merge_by(INT4 if value_kind(kind) == INT4 else FLOAT32)


@functools.cache
def _merge_by(kind: int) -> Kernel:
    """It is the same for all values but int4. A chunk is a token and a head."""
    finish = finish_by(kind)

    @kernel(variant="int4" if kind == INT4 else "")
    def merge_splits(row, step, worker):
        heads, value_dim = argument(row, ATTEND_HEADS), argument(row, ATTEND_VALUE_DIM)
        value_vectors = value_columns(kind, value_dim) // 16
        record = 64 + value_vectors * 64
        totals = field(worker, WORKER_SCRATCH)
        running, zeros = totals + 64, totals + 64 + value_vectors * 64
        for at in range(value_vectors):
            store_vector(zeros + 64 * at, spread(0.0))
        num_chunks = field(step, STEP_NUM_MERGES) * heads
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            entry, head = field(step, STEP_MERGES) + chunk // heads * (8 * MERGE_FIELDS), chunk % heads
            store_f32(totals, MINUS_INFINITY)
            store_f32(totals + 4, 0.0)
            for at in range(value_vectors):
                store_vector(running + 64 * at, spread(0.0))
            partial = field(step, STEP_PARTIALS) + (field(entry, MERGE_PARTIAL) * heads + head) * record
            position = load_i32(field(step, STEP_POSITIONS) + 4 * field(entry, MERGE_TOKEN))
            # Spans before the token's window were not computed.
            unseen = first_seen(position, argument(row, ATTEND_WINDOW), argument(row, ATTEND_CHUNK)) // SPAN_POSITIONS
            partial += unseen * heads * record
            for _ in range(field(entry, MERGE_SPANS) - unseen):
                merge(running, totals, partial + 64, load_f32(partial), load_f32(partial + 4), value_vectors)
                partial += heads * record
            add_sink(running, totals, argument(row, ATTEND_SINKS), head, zeros, value_vectors)
            out = argument(row, ATTEND_OUTPUT) + field(entry, MERGE_TOKEN) * argument(row, ATTEND_OUTPUT_STRIDE)
            finish(running, totals, out + head * value_dim * 4, value_dim)
            chunk = take_chunk(worker, num_chunks)

    return merge_splits

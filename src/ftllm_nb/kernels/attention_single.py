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
    finish,
    first_seen,
    gather_queries,
    judge,
    merge,
    query_bytes,
    weigh,
    weigh_wide,
)
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, SPAN_POSITIONS, key_columns, padded, scale_bytes
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.latent_values import lay_values
from ftllm_nb.kernels.matmul import group_matmul
from ftllm_nb.kernels.matmul_tile import INT8, WEIGHT_BYTES
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
from ftllm_nb.kernels.wide_tile import wide_group_matmul


def partial_floats(heads: int, value_dim: int) -> int:
    """Floats that one span's partial results of one token take: for each head m, l, padding, values."""
    return heads * (16 + padded(value_dim))


@numba.njit
def first_keys(row, step, chunk, kv_heads, key_bytes):
    """Address of the first keys that a chunk of `attend_split` reads."""
    split = field(step, STEP_SPLITS) + chunk // kv_heads * (8 * SPLIT_FIELDS)
    sequence = field(step, STEP_SEQUENCES) + field(split, SPLIT_SEQUENCE) * (8 * SEQUENCE_FIELDS)
    block = load_i64(block_table(row, sequence) + 8 * field(split, SPLIT_FIRST_BLOCK))
    return block + argument(row, ATTEND_KEYS) + chunk % kv_heads * key_bytes


@functools.cache
def attend_split_kernel(kind: int, group: int, are_latent: bool = False) -> Kernel:
    """Attention of single tokens, a span of positions each: m, l and values. A chunk is a span and a kv head.

    `kind`: the cache's type; `group`: query heads of a kv head, one product's rows; `are_latent`: values are the first
    features of keys, and not stored (latent_values.py).
    """
    element, scales, is_wide = WEIGHT_BYTES[kind], scale_bytes(kind), kind == INT8
    score = wide_group_matmul(1, group) if is_wide else group_matmul(kind, group)
    combine = wide_group_matmul(0, group) if is_wide else group_matmul(kind, group)
    gather, lay = gather_queries(kind, are_latent), lay_values(kind)

    @kernel(variant=f"{kind}_{group}_latent" if are_latent else f"{kind}_{group}")
    def attend_split(row, step, worker):
        heads, kv_heads = argument(row, ATTEND_HEADS), argument(row, ATTEND_KV_HEADS)
        key_dim, value_dim = argument(row, ATTEND_KEY_DIM), argument(row, ATTEND_VALUE_DIM)
        value_vectors = (value_dim + 15) // 16
        record = 64 + value_vectors * 64
        columns, gathered = key_columns(kind, key_dim), query_bytes(kind, key_dim)
        key_block = 16 * columns * element + scales // 4
        value_bytes = BLOCK_POSITIONS * 16 * value_vectors * element
        zeros = field(worker, WORKER_SCRATCH)
        floats = zeros + max(4 * BLOCK_POSITIONS, 64 * value_vectors)
        laid = floats + 4 * padded(key_dim)
        queries = laid
        if are_latent:
            queries += value_bytes + scales
        scores = queries + group * gathered
        weights = scores + group * SCORES_STRIDE
        lanes = weights + group * WEIGHTS_STRIDE
        for at in range(0, max(4 * BLOCK_POSITIONS, 64 * value_vectors), 64):
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
            keys_place = argument(row, ATTEND_KEYS) + kv_head * 4 * key_block
            values_place = argument(row, ATTEND_VALUES) + kv_head * (value_bytes + scales)
            if are_latent:
                values_place = keys_place
            next_keys = first_keys(row, step, min(chunk + 1, num_chunks - 1), kv_heads, 4 * key_block)
            for head in range(group):
                store_vector(lanes + 64 * head, spread(MINUS_INFINITY))
            for at in range(first_block, filled, BLOCK_POSITIONS):
                size = min(BLOCK_POSITIONS, filled - at)
                keys = load_i64(blocks + at // BLOCK_POSITIONS * 8) + keys_place
                following, scales_place = load_i64(first_entry) + values_place, value_bytes
                if at + BLOCK_POSITIONS < filled:
                    following = load_i64(blocks + at // BLOCK_POSITIONS * 8 + 8) + keys_place
                    scales_place = BLOCK_POSITIONS * columns
                if is_wide:  # products fetch as many bytes as they multiply, which leaves as many as scales have
                    fetch_lines(following + scales_place, scales)
                score(keys, key_block, (size + 15) // 16, queries, gathered, zeros, 0, scores + 4 * at,
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
                following, scales_place = next_keys, BLOCK_POSITIONS * columns
                if at + BLOCK_POSITIONS < filled:
                    following = load_i64(blocks + at // BLOCK_POSITIONS * 8 + 8) + values_place
                    scales_place = value_bytes
                if is_wide:
                    fetch_lines(following + scales_place, scales)
                for head in range(group):
                    place, m = scores + head * SCORES_STRIDE + 4 * at, load_f32(partial + head * record)
                    total = load_vector(lanes + 64 * head)
                    if is_wide:
                        total = weigh_wide(
                            place, size, m, total, values + value_bytes, weights + head * WEIGHTS_STRIDE
                        )
                    else:
                        total = weigh(place, m, total)
                    store_vector(lanes + 64 * head, total)
                factor_rows, factor_stride, count = scores + 4 * at, SCORES_STRIDE, size
                if is_wide:
                    factor_rows, factor_stride, count = weights, WEIGHTS_STRIDE, BLOCK_POSITIONS
                before, before_stride = (zeros, 0) if at == first_block else (partial + 64, record)
                combine(values, BLOCK_POSITIONS * 16 * element, value_vectors, factor_rows, factor_stride, before,
                        before_stride, partial + 64, record, count, following)  # fmt: skip
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

"""Attention of tiles of tokens over the blocked KV cache: online softmax, one span of cache blocks at a time.

A tile holds neighbouring tokens of one sequence, with all query heads of a kv head as its rows. A token's result does
not depend on the tokens beside it, nor on the number of threads; attention_single.py gives the same bits.
"""

from __future__ import annotations

import functools
import math

from ftllm_nb.kernels.attention_parts import (
    ATTEND_CAUSAL,
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
from ftllm_nb.kernels.attention_products import products
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
from ftllm_nb.kernels.memory import load_f32, load_i64, store_f32
from ftllm_nb.kernels.simd import load_vector, max_lanes, spread, store_vector, sum_lanes
from ftllm_nb.kernels.step import (
    SEQUENCE_FIELDS,
    SEQUENCE_FIRST_TOKEN,
    SEQUENCE_LENGTH,
    SEQUENCE_START,
    STEP_NUM_TILES,
    STEP_SEQUENCES,
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

TILE_ROWS = 96
"""About how many query rows (tokens × heads of one kv head) a tile has."""


def tile_tokens(heads: int, kv_heads: int) -> int:
    """Tokens of a tile, so that it has at most about TILE_ROWS rows, which fill the matmul's tiles."""
    group, height = heads // kv_heads, current_tier().tile_tokens
    step = height // math.gcd(group, height)
    return max(1, TILE_ROWS // group // step * step or TILE_ROWS // group)


def scratch_bytes(
    kind: int, heads: int, kv_heads: int, key_dim: int, value_dim: int, are_latent: bool = False
) -> int:
    """Scratch memory that `attend` and `attend_split` need of each worker."""
    rows = tile_tokens(heads, kv_heads) * (heads // kv_heads)
    each = query_bytes(kind, key_dim) + SCORES_STRIDE + WEIGHTS_STRIDE + 8 * value_columns(kind, value_dim) + 64 + 16
    laid = value_bytes(kind, value_dim) if are_latent else 0
    return 4 * (zeros_floats(kind, value_dim) + floats_of_key(kind, key_dim)) + laid + rows * each


@functools.cache
def attend_kernel(kind: int, are_latent: bool = False) -> Kernel:
    """Attention of tiles of tokens; the cache's type is `kind`. A chunk is a tile and a kv head.

    `are_latent`: values are the first features of keys, and not stored (latent_values.py).
    """
    is_integer, value_tile = key_kind(kind) in (INT8, INT4), value_tile_bytes(kind)
    score, combine = products(kind)
    gather, weigh_values, finish = gather_queries(kind, are_latent), weights_by(kind), finish_by(kind)
    lay = lay_values(FLOAT32 if value_kind(kind) == INT4 else kind)  # int4 is never latent

    @kernel(variant=f"{kind}_latent" if are_latent else f"{kind}")
    def attend(row, step, worker):
        heads, kv_heads = argument(row, ATTEND_HEADS), argument(row, ATTEND_KV_HEADS)
        key_dim, value_dim = argument(row, ATTEND_KEY_DIM), argument(row, ATTEND_VALUE_DIM)
        query_stride, out_stride = argument(row, ATTEND_QUERY_STRIDE), argument(row, ATTEND_OUTPUT_STRIDE)
        group, value_vectors = heads // kv_heads, value_columns(kind, value_dim) // 16
        value_row, vectors = 64 * value_vectors, vectors_at_once(kind, value_dim)
        columns, gathered = key_columns(kind, key_dim), query_bytes(kind, key_dim)
        key_tile = key_tile_bytes(kind, key_dim)
        scales_step = value_scales_bytes(kind, value_dim) * vectors // value_vectors
        causal, softcap = argument(row, ATTEND_CAUSAL) != 0, scalar(row, ATTEND_SOFTCAP)
        window, sight = argument(row, ATTEND_WINDOW), argument(row, ATTEND_CHUNK)
        zeros = field(worker, WORKER_SCRATCH)
        floats = zeros + 4 * zeros_floats(kind, value_dim)
        laid = floats + 4 * floats_of_key(kind, key_dim)
        queries = laid
        if are_latent:
            queries += value_bytes(kind, value_dim)
        num_chunks = field(step, STEP_NUM_TILES) * kv_heads
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            tile, kv_head = field(step, STEP_TILES) + chunk // kv_heads * (8 * TILE_FIELDS), chunk % kv_heads
            sequence = field(step, STEP_SEQUENCES) + field(tile, TILE_SEQUENCE) * (8 * SEQUENCE_FIELDS)
            first_token, tokens = field(tile, TILE_FIRST_TOKEN), field(tile, TILE_TOKENS)
            first_position = field(sequence, SEQUENCE_START) + first_token - field(sequence, SEQUENCE_FIRST_TOKEN)
            end = field(sequence, SEQUENCE_LENGTH)
            if causal:
                end = first_position + tokens
            rows = tokens * group
            scores = queries + rows * gathered
            weights = scores + rows * SCORES_STRIDE
            running = weights + rows * WEIGHTS_STRIDE
            span_values = running + rows * value_row
            lanes = span_values + rows * value_row
            totals = lanes + 64 * rows
            found = totals + 8 * rows
            for at in range(0, 4 * zeros_floats(kind, value_dim), 64):
                store_vector(zeros + at, spread(0.0))
            for at in range(rows * value_vectors):
                store_vector(running + 64 * at, spread(0.0))
            for at in range(rows):
                store_f32(totals + 8 * at, MINUS_INFINITY)
                store_f32(totals + 8 * at + 4, 0.0)
            gather(argument(row, ATTEND_QUERY) + first_token * query_stride, query_stride, kv_head * group, group,
                   tokens, key_dim, scalar(row, ATTEND_SCALE), queries, floats)  # fmt: skip
            begin = first_seen(first_position, window, sight)
            for start in range(begin // SPAN_POSITIONS * SPAN_POSITIONS, end, SPAN_POSITIONS):
                filled = min(SPAN_POSITIONS, end - start)
                # Blocks before what the first token sees may be gone; later ones are there for all of the tile.
                first_block = max(0, begin - start) // BLOCK_POSITIONS * BLOCK_POSITIONS
                blocks = block_table(row, sequence) + 8 * (start // BLOCK_POSITIONS)
                # Tokens whose position is before a block see nothing of it, nor do those whose window begins behind it;
                # a tile's rows are in their order.
                first, last = 0, tokens
                if causal:
                    first = max(0, start - first_position)
                while first_seen(first_position + last - 1, window, sight) >= start + filled:
                    last -= 1
                seeing = last * group
                for at in range(first * group, seeing):
                    store_vector(lanes + 64 * at, spread(MINUS_INFINITY))
                skipped = first
                for at in range(first_block, filled, BLOCK_POSITIONS):
                    size = min(BLOCK_POSITIONS, filled - at)
                    if causal:
                        skipped = max(0, start + at - first_position)
                    keys = load_i64(blocks + at // BLOCK_POSITIONS * 8) + argument(row, ATTEND_KEYS)
                    score(keys + kv_head * key_bytes(kind, key_dim), key_tile, (size + 15) // 16,
                          queries + skipped * group * gathered, gathered, seeing - skipped * group, zeros, 0,
                          scores + skipped * group * SCORES_STRIDE + 4 * at, SCORES_STRIDE, columns)  # fmt: skip
                    for line in range(skipped * group, seeing):
                        valid = size
                        if causal:
                            valid = min(size, first_position + line // group + 1 - start - at)
                        hidden = first_seen(first_position + line // group, window, sight) - start - at
                        largest = judge(scores + line * SCORES_STRIDE + 4 * at, hidden, valid, softcap,
                                        load_vector(lanes + 64 * line))  # fmt: skip
                        store_vector(lanes + 64 * line, largest)
                for at in range(first * group, seeing):
                    store_f32(found + 8 * at, max_lanes(load_vector(lanes + 64 * at)))
                    store_vector(lanes + 64 * at, spread(0.0))
                for at in range(first_block, filled, BLOCK_POSITIONS):
                    size = min(BLOCK_POSITIONS, filled - at)
                    if causal:
                        skipped = max(0, start + at - first_position)
                    values = load_i64(blocks + at // BLOCK_POSITIONS * 8) + argument(row, ATTEND_VALUES)
                    values += kv_head * value_bytes(kind, value_dim)
                    if are_latent:
                        keys = load_i64(blocks + at // BLOCK_POSITIONS * 8) + argument(row, ATTEND_KEYS)
                        lay(keys + kv_head * key_bytes(kind, key_dim), key_dim, value_dim, laid)
                        values = laid
                    begin_row = skipped * group
                    for line in range(begin_row, seeing):
                        total = weigh(scores + line * SCORES_STRIDE + 4 * at, load_f32(found + 8 * line),
                                      load_vector(lanes + 64 * line))  # fmt: skip
                        store_vector(lanes + 64 * line, total)
                    results = span_values + begin_row * value_row
                    before, before_stride = (zeros, 0) if at == first_block else (results, value_row)
                    if is_integer:
                        scales = values + value_vectors * value_tile
                        for vector in range(0, value_vectors, vectors):
                            for line in range(begin_row, seeing):
                                valid = size
                                if causal:
                                    valid = min(size, first_position + line // group + 1 - start - at)
                                weigh_values(scores + line * SCORES_STRIDE + 4 * at, valid, scales,
                                             weights + line * WEIGHTS_STRIDE)  # fmt: skip
                            combine(values + vector * value_tile, value_tile, vectors,
                                    weights + begin_row * WEIGHTS_STRIDE, WEIGHTS_STRIDE, seeing - begin_row,
                                    before + 64 * vector, before_stride, results + 64 * vector, value_row,
                                    BLOCK_POSITIONS)  # fmt: skip
                            scales += scales_step
                    else:
                        combine(values, value_tile, value_vectors, scores + begin_row * SCORES_STRIDE + 4 * at,
                                SCORES_STRIDE, seeing - begin_row, before, before_stride, results, value_row,
                                size)  # fmt: skip
                for at in range(first * group, seeing):
                    merge(running + at * value_row, totals + 8 * at, span_values + at * value_row,
                          load_f32(found + 8 * at), sum_lanes(load_vector(lanes + 64 * at)), value_vectors)  # fmt: skip
            for at in range(rows):
                add_sink(running + at * value_row, totals + 8 * at, argument(row, ATTEND_SINKS),
                         kv_head * group + at % group, zeros, value_vectors)  # fmt: skip
                out = argument(row, ATTEND_OUTPUT) + (first_token + at // group) * out_stride
                out += (kv_head * group + at % group) * value_dim * 4
                finish(running + at * value_row, totals + 8 * at, out, value_dim)
            chunk = take_chunk(worker, num_chunks)

    return attend

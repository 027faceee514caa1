"""Attention of single tokens to a latent cache of floats: each span of a sequence on its own, as attention_single.py.

All heads read the same keys, whose first features are the values. So heads can be the lanes: a result [feature, head]
is the sum over positions of a key's feature times the head's weight, for which keys only become float32, and need not
change places as in latent_values.py. Sums have the order of attention.py, and so its bits.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from numba.core import types

from ftllm_nb.kernels.attention_parts import (
    ATTEND_HEADS,
    ATTEND_KEY_DIM,
    ATTEND_KEYS,
    ATTEND_KV_HEADS,
    ATTEND_QUERY,
    ATTEND_QUERY_STRIDE,
    ATTEND_SCALE,
    ATTEND_SOFTCAP,
    ATTEND_VALUE_DIM,
    MINUS_INFINITY,
    SCORES_STRIDE,
    block_table,
    gather_queries,
    judge,
    query_bytes,
    weigh,
)
from ftllm_nb.kernels.attention_single import attend_split_kernel, first_keys
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, SPAN_POSITIONS, padded
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.emit import LANES, emitted
from ftllm_nb.kernels.latent_values import turn_by
from ftllm_nb.kernels.matmul_tile import FLOAT32, INT8, LOADERS, WEIGHT_BYTES, matmul_tile
from ftllm_nb.kernels.memory import copy_bytes, load_f32, load_i64, store_f32
from ftllm_nb.kernels.simd import float32x16, load_vector, max_lanes, spread, store_vector, sum_lanes
from ftllm_nb.kernels.step import (
    SEQUENCE_FIELDS,
    SEQUENCE_LENGTH,
    SPLIT_FIELDS,
    SPLIT_FIRST_BLOCK,
    SPLIT_PARTIAL,
    SPLIT_SEQUENCE,
    SPLIT_TOKEN,
    STEP_NUM_SPLITS,
    STEP_PARTIALS,
    STEP_SEQUENCES,
    STEP_SPLITS,
    WORKER_SCRATCH,
    argument,
    field,
    scalar,
    take_chunk,
)
from ftllm_nb.kernels.tiers import current_tier

_ROW = 4 * BLOCK_POSITIONS
"""Bytes of a feature of all positions of a block."""
_SLAB_TILES = 8
"""Tiles of features that become float32 at a time."""
_SQUARE = 4 * LANES * LANES
"""Bytes of 16 × 16 floats."""


def latent_scratch_bytes(kind: int, heads: int, kv_heads: int, key_dim: int, value_dim: int) -> int:
    """Scratch memory that `attend_latent` needs of each worker."""
    lanes, features = padded(heads // kv_heads), padded(value_dim)
    each = query_bytes(kind, key_dim) + SCORES_STRIDE + _ROW + 4 * features + 64
    return 64 * 4 + 4 * padded(key_dim) + lanes * each + _ROW * _slab_features() + _SQUARE


def _slab_features() -> int:
    """Features that become float32 at a time, and stay in the first cache: a multiple of a tile's."""
    return _SLAB_TILES * current_tier().tile_tokens


def single_kernel(kind: int, group: int, are_latent: bool) -> Kernel:
    """The kernel for the spans of single tokens: `attend_latent_kernel`'s of a latent cache of floats, or else
    `attend_split_kernel`'s."""
    if are_latent and kind != INT8:
        return attend_latent_kernel(kind, group)
    return attend_split_kernel(kind, group, are_latent)


@functools.cache
def attend_latent_kernel(kind: int, group: int) -> Kernel:
    """Attention of single tokens, a span of positions each: m, l and values. A chunk is a span and a kv head.

    `kind`: the cache's type, of floats; `group`: query heads of a kv head.
    """
    element, lane_groups = WEIGHT_BYTES[kind], padded(group) // LANES
    score, widen, combine = _score_by(kind, group), _widen_by(kind), _combine_by()
    gather, turn, slab = gather_queries(kind, True), turn_by(4), _slab_features()

    @kernel(variant=f"{kind}_{group}")
    def attend_latent(row, step, worker):
        heads, kv_heads = argument(row, ATTEND_HEADS), argument(row, ATTEND_KV_HEADS)
        key_dim, value_dim = argument(row, ATTEND_KEY_DIM), argument(row, ATTEND_VALUE_DIM)
        features = padded(value_dim)
        record, gathered, key_block = 64 + 4 * features, query_bytes(kind, key_dim), 16 * key_dim * element
        zeros = field(worker, WORKER_SCRATCH)
        floats = zeros + 64 * 4
        queries = floats + 4 * padded(key_dim)
        scores = queries + group * gathered
        weights = scores + padded(group) * SCORES_STRIDE
        sums = weights + padded(group) * _ROW
        lanes = sums + padded(group) * 4 * features
        wide = lanes + padded(group) * 64
        square = wide + _ROW * slab
        for at in range(0, 64 * 4, 64):
            store_vector(zeros + at, spread(0.0))
        for at in range(group * SCORES_STRIDE, padded(group) * SCORES_STRIDE, 64):
            store_vector(scores + at, spread(0.0))
        for at in range(0, padded(group) * 4 * features, 64):
            store_vector(sums + at, spread(0.0))
        softcap = scalar(row, ATTEND_SOFTCAP)
        num_chunks = field(step, STEP_NUM_SPLITS) * kv_heads
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            split, kv_head = field(step, STEP_SPLITS) + chunk // kv_heads * (8 * SPLIT_FIELDS), chunk % kv_heads
            sequence = field(step, STEP_SEQUENCES) + field(split, SPLIT_SEQUENCE) * (8 * SEQUENCE_FIELDS)
            start = field(split, SPLIT_FIRST_BLOCK) * BLOCK_POSITIONS
            gather(argument(row, ATTEND_QUERY) + field(split, SPLIT_TOKEN) * argument(row, ATTEND_QUERY_STRIDE), 0,
                   kv_head * group, group, 1, key_dim, scalar(row, ATTEND_SCALE), queries, floats)  # fmt: skip
            partial = field(step, STEP_PARTIALS)
            partial += (field(split, SPLIT_PARTIAL) * heads + kv_head * group) * record
            blocks = block_table(row, sequence) + 8 * field(split, SPLIT_FIRST_BLOCK)
            filled = min(SPAN_POSITIONS, field(sequence, SEQUENCE_LENGTH) - start)
            place = argument(row, ATTEND_KEYS) + kv_head * 4 * key_block
            following = first_keys(row, step, min(chunk + 1, num_chunks - 1), kv_heads, 4 * key_block)
            for head in range(group):
                store_vector(lanes + 64 * head, spread(MINUS_INFINITY))
            for at in range(0, filled, BLOCK_POSITIONS):
                size, block = min(BLOCK_POSITIONS, filled - at), blocks + at // BLOCK_POSITIONS * 8
                fetched = following
                if at + BLOCK_POSITIONS < filled:
                    fetched = load_i64(block + 8) + place
                score(load_i64(block) + place, key_block, (size + 15) // 16, queries, gathered, zeros, scores + 4 * at,
                      key_dim, fetched)  # fmt: skip
                for head in range(group):
                    largest = judge(scores + head * SCORES_STRIDE + 4 * at, 0, size, softcap,
                                    load_vector(lanes + 64 * head))  # fmt: skip
                    store_vector(lanes + 64 * head, largest)
            for head in range(group):
                store_f32(partial + head * record, max_lanes(load_vector(lanes + 64 * head)))
                store_vector(lanes + 64 * head, spread(0.0))
            for at in range(0, filled, BLOCK_POSITIONS):
                size = min(BLOCK_POSITIONS, filled - at)
                for head in range(group):
                    total = weigh(scores + head * SCORES_STRIDE + 4 * at, load_f32(partial + head * record),
                                  load_vector(lanes + 64 * head))  # fmt: skip
                    store_vector(lanes + 64 * head, total)
                for each in range(lane_groups):
                    source, target = scores + 16 * each * SCORES_STRIDE + 4 * at, weights + 16 * each * _ROW
                    for part in range(0, size, 16):
                        turn(source + 4 * part, SCORES_STRIDE, target + 64 * part, 64)
                keys = load_i64(blocks + at // BLOCK_POSITIONS * 8) + place
                for first in range(0, value_dim, slab):
                    count = min(slab, value_dim - first)
                    widen(keys + first * 16 * element, key_block, (size + 15) // 16, count, wide)
                    for each in range(lane_groups):
                        result = sums + 16 * each * 4 * features + 64 * first
                        before, stride = (zeros, 0) if at == 0 else (result, 64)
                        combine(wide, count, weights + 16 * each * _ROW, before, stride, result, size)
            for each in range(lane_groups):
                result, target = sums + 16 * each * 4 * features, partial + 16 * each * record + 64
                for at in range(0, 4 * features, 64):
                    if 16 * each + 16 <= group:
                        turn(result + 16 * at, 64, target + at, record)
                    else:  # what follows is the next span's
                        turn(result + 16 * at, 64, square, 64)
                        for head in range(group - 16 * each):
                            copy_bytes(target + head * record + at, square + 64 * head, 64)
            for head in range(group):
                store_f32(partial + head * record + 4, sum_lanes(load_vector(lanes + 64 * head)))
            chunk = take_chunk(worker, num_chunks)

    return attend_latent


def _score_by(kind: int, group: int) -> Any:
    """A function that writes the scores of `group` queries: tiles as tall as each other or a row less, of which the
    first fetches the keys that follow."""
    tier = current_tier()
    count, width = -(-group // tier.tile_tokens), tier.tile_blocks
    tall = -(-group // count)
    tall_rows, short = (group - count * (tall - 1)) * tall, max(1, tall - 1)

    @numba.njit
    def score(keys, block_stride, blocks, queries, stride, zeros, out, columns, following):
        for block in range(0, blocks, width):
            w, place = keys + block * block_stride, out + 64 * block
            matmul_tile(w, block_stride, queries, stride, zeros, 0, place, SCORES_STRIDE, columns, following - keys,
                        tall, width, kind)  # fmt: skip
            for at in range(tall, tall_rows, tall):
                matmul_tile(w, block_stride, queries + at * stride, stride, zeros, 0, place + at * SCORES_STRIDE,
                            SCORES_STRIDE, columns, 0, tall, width, kind)  # fmt: skip
            for at in range(tall_rows, group, short):
                matmul_tile(w, block_stride, queries + at * stride, stride, zeros, 0, place + at * SCORES_STRIDE,
                            SCORES_STRIDE, columns, 0, short, width, kind)  # fmt: skip

    return score


def _widen_by(kind: int) -> Any:
    """A function that writes the first features of a block's keys as float32 [features, positions]."""
    size = LANES * WEIGHT_BYTES[kind]

    @emitted(float32x16, types.int64)
    def widened(builder, address):
        return LOADERS[kind](builder, address)

    @numba.njit
    def widen(keys, block_stride, blocks, features, target):
        for block in range(blocks):
            source, place = keys + block * block_stride, target + 64 * block
            for _ in range(features):
                store_vector(place, widened(source))
                source += size
                place += _ROW

    return widen


def _combine_by() -> Any:
    """A function that adds up each feature of `count` positions, times the weights of 16 heads."""
    tall = current_tier().tile_tokens

    @numba.njit
    def combine(wide, features, weights, start, start_stride, out, count):
        whole = features // tall * tall
        for at in range(0, whole, tall):
            matmul_tile(weights, 0, wide + _ROW * at, _ROW, start + start_stride * at, start_stride, out + 64 * at, 64,
                        count, 0, tall, 1, FLOAT32)  # fmt: skip
        for at in range(whole, features):
            matmul_tile(weights, 0, wide + _ROW * at, _ROW, start + start_stride * at, start_stride, out + 64 * at, 64,
                        count, 0, 1, 1, FLOAT32)  # fmt: skip

    return combine

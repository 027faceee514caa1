"""Float matrix products of any size, put together from tiles; the kernels of `Linear` on float weights."""

from __future__ import annotations

import functools

import numba

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES, matmul_tile
from ftllm_nb.kernels.step import argument, field, take_chunk
from ftllm_nb.kernels.tiers import current_tier

PANEL_BLOCKS = 4
"""Row blocks (of 16 rows) of a chunk: one token's loop keeps as many chains of multiply-adds in flight."""
RANGE_TOKENS = 96
"""Tokens of a chunk in a prefill: a multiple of every tile's tokens."""

_TIER = current_tier()
_TALL, _WIDE = _TIER.tile_tokens, _TIER.tile_blocks
_SMALL = _TIER.small_tokens
_SMALL_WIDE = _TIER.small_blocks


@numba.njit  # type: ignore[untyped-decorator]
def matmul(  # type: ignore[no-untyped-def]
    w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, count, kind
):
    """out[r, 16·b + l] = start[r, 16·b + l] + Σ_k x[r, k] · w[b, k, l] for all r < rows, b < num_blocks.

    As `matmul_tile`, of any size: tall tiles first, then small ones, then single rows. `kind` is a constant.
    """
    row = 0
    while rows - row >= _TALL:
        block = 0
        while num_blocks - block >= _WIDE:
            matmul_tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                        start + row * start_stride + block * 64, start_stride,
                        out + row * out_stride + block * 64, out_stride, count, _TALL, _WIDE, kind)  # fmt: skip
            block += _WIDE
        while block < num_blocks:
            matmul_tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                        start + row * start_stride + block * 64, start_stride,
                        out + row * out_stride + block * 64, out_stride, count, _TALL, 1, kind)  # fmt: skip
            block += 1
        row += _TALL
    while rows - row >= _SMALL:
        block = 0
        while num_blocks - block >= _SMALL_WIDE:
            matmul_tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                        start + row * start_stride + block * 64, start_stride,
                        out + row * out_stride + block * 64, out_stride, count, _SMALL, _SMALL_WIDE, kind)  # fmt: skip
            block += _SMALL_WIDE
        while block < num_blocks:
            matmul_tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                        start + row * start_stride + block * 64, start_stride,
                        out + row * out_stride + block * 64, out_stride, count, _SMALL, 1, kind)  # fmt: skip
            block += 1
        row += _SMALL
    while row < rows:
        block = 0
        while num_blocks - block >= PANEL_BLOCKS:
            matmul_tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                        start + row * start_stride + block * 64, start_stride,
                        out + row * out_stride + block * 64, out_stride, count, 1, PANEL_BLOCKS, kind)  # fmt: skip
            block += PANEL_BLOCKS
        while block < num_blocks:
            matmul_tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                        start + row * start_stride + block * 64, start_stride,
                        out + row * out_stride + block * 64, out_stride, count, 1, 1, kind)  # fmt: skip
            block += 1
        row += 1


LINEAR_INPUT, LINEAR_INPUT_STRIDE, LINEAR_FEATURES = 0, 1, 2
LINEAR_WEIGHT, LINEAR_BLOCKS, LINEAR_BIAS = 3, 4, 5
LINEAR_OUTPUT, LINEAR_OUTPUT_STRIDE, LINEAR_COUNT = 6, 7, 8
"""Arguments of `linear_kernel`'s rows. `BIAS` is float32 [16 · blocks], zeros where there is none; `COUNT` is the
step's field that holds the number of input rows."""


@functools.cache
def linear_kernel(kind: int) -> Kernel:
    """out = x · wᵀ + bias on packed float weights of type `kind`: chunks are row panels × ranges of tokens."""
    weight_bytes = WEIGHT_BYTES[kind]

    @kernel(variant=f"{kind}")
    def linear(row, step, worker):  # type: ignore[no-untyped-def]
        x, x_stride = argument(row, LINEAR_INPUT), argument(row, LINEAR_INPUT_STRIDE)
        features = argument(row, LINEAR_FEATURES)
        w, num_blocks = argument(row, LINEAR_WEIGHT), argument(row, LINEAR_BLOCKS)
        bias = argument(row, LINEAR_BIAS)
        out, out_stride = argument(row, LINEAR_OUTPUT), argument(row, LINEAR_OUTPUT_STRIDE)
        rows = field(step, argument(row, LINEAR_COUNT))
        block_stride = features * 16 * weight_bytes
        ranges = (rows + RANGE_TOKENS - 1) // RANGE_TOKENS
        num_chunks = (num_blocks + PANEL_BLOCKS - 1) // PANEL_BLOCKS * ranges
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            first_block = chunk // ranges * PANEL_BLOCKS
            first_row = chunk % ranges * RANGE_TOKENS
            matmul(
                w + first_block * block_stride,
                block_stride,
                min(PANEL_BLOCKS, num_blocks - first_block),
                x + first_row * x_stride,
                x_stride,
                min(RANGE_TOKENS, rows - first_row),
                bias + first_block * 64,
                0,
                out + first_row * out_stride + first_block * 64,
                out_stride,
                features,
                kind,
            )
            chunk = take_chunk(worker, num_chunks)

    return linear

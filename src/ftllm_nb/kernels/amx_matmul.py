"""The kernels of `Linear` on integer weights where the CPU has AMX, which serves 16 tokens at a time."""

from __future__ import annotations

from typing import Any

import numba

from ftllm_nb.kernels.amx_tile import SCRATCH_BYTES, STEP_COLUMNS, TOKENS, amx_tile, configure, release, unpack_vector
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.simd import spread, store_vector
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, take_chunk
from ftllm_nb.kernels.tiling import (
    LINEAR_BIAS,
    LINEAR_BLOCK_STRIDE,
    LINEAR_BLOCKS,
    LINEAR_COLUMNS,
    LINEAR_COUNT,
    LINEAR_INPUT,
    LINEAR_INPUT_STRIDE,
    LINEAR_OUTPUT,
    LINEAR_OUTPUT_STRIDE,
    LINEAR_WEIGHT,
    linear_chunks,
)

_RANGE_TOKENS = 256
"""Tokens of a chunk, a multiple of 16: they share the unpacking of weights."""


def amx_scratch_bytes(columns: int) -> int:
    """Private memory that a worker needs: the tile's own, then a block's unpacked weights."""
    return SCRATCH_BYTES + 16 * (columns + STEP_COLUMNS)


def amx_linear_by(
    multiply: Any, bits: int, group: int, with_zeros: int, scale_kind: int, variant: str
) -> Kernel:
    """out = x · wᵀ + bias. `multiply`, which `tiled` made, takes the tokens that fill no tile."""
    few_tokens = linear_chunks(multiply)
    tile_columns = min(group or STEP_COLUMNS, STEP_COLUMNS)
    spread_out = 8 // bits

    @numba.njit
    def unpack_block(block, columns, target):
        for vector in range(columns * 2 * bits // 64):
            unpack_vector(block + 64 * vector, target + 64 * spread_out * vector, bits)
        for at in range(columns * 16, columns * 16 + 16 * STEP_COLUMNS, 64):
            store_vector(target + at, spread(0.0))

    @numba.njit
    def many_tokens(row, step, worker):
        """Chunks are row blocks × ranges of tokens."""
        x_stride, out_stride = argument(row, LINEAR_INPUT_STRIDE), argument(row, LINEAR_OUTPUT_STRIDE)
        block_stride, columns = argument(row, LINEAR_BLOCK_STRIDE), argument(row, LINEAR_COLUMNS)
        rows = field(step, argument(row, LINEAR_COUNT))
        scratch = field(worker, WORKER_SCRATCH)
        unpacked = scratch + SCRATCH_BYTES
        ranges = (rows + _RANGE_TOKENS - 1) // _RANGE_TOKENS
        num_chunks = argument(row, LINEAR_BLOCKS) * ranges
        configure(scratch, tile_columns)
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            block, first = chunk // ranges, chunk % ranges * _RANGE_TOKENS
            w = argument(row, LINEAR_WEIGHT) + block * block_stride
            bias = argument(row, LINEAR_BIAS) + block * 64
            end = min(rows, first + _RANGE_TOKENS)
            unpack_block(w, columns, unpacked)
            while end - first >= TOKENS:
                x = argument(row, LINEAR_INPUT) + first * x_stride
                out = argument(row, LINEAR_OUTPUT) + first * out_stride + block * 64
                amx_tile(unpacked, w + columns * 2 * bits, x, x_stride, bias, out, out_stride, columns, scratch,
                         bits, group, with_zeros, scale_kind)  # fmt: skip
                first += TOKENS
            if first < end:
                x = argument(row, LINEAR_INPUT) + first * x_stride
                out = argument(row, LINEAR_OUTPUT) + first * out_stride + block * 64
                multiply(w, block_stride, 1, x, x_stride, end - first, bias, 0, out, out_stride, columns)
            chunk = take_chunk(worker, num_chunks)
        release()

    @kernel(variant=variant)
    def linear(row, step, worker):
        if field(step, argument(row, LINEAR_COUNT)) < TOKENS:
            few_tokens(row, step, worker)
        else:
            many_tokens(row, step, worker)

    return linear

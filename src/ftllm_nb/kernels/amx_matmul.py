"""The kernels of `Linear` on integer weights where the CPU has AMX, which serves 16 tokens at a time."""

from __future__ import annotations

from typing import Any

import numba

from ftllm_nb.kernels.amx_tile import (
    SCRATCH_BYTES,
    STEP_COLUMNS,
    TOKENS,
    amx_tile,
    configure,
    release,
    step_columns,
    unpack_vector,
)
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES
from ftllm_nb.kernels.memory import fetch_line
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

_PANEL_BLOCKS = 4
"""Row blocks of a chunk: they share the loads of a tile of tokens."""
_RANGE_TOKENS = 128
"""Tokens of a chunk, a multiple of 16: they share the unpacking of weights."""
_SLAB_COLUMNS = 1024
"""About so many columns, whole groups, all of a chunk goes through before the next ones: so many of a tile of tokens
and of a block of weights stay in the first cache together."""


def amx_scratch_bytes(columns: int) -> int:
    """Private memory that a worker needs: the tile's own, then a panel's unpacked weights."""
    return SCRATCH_BYTES + _PANEL_BLOCKS * 16 * (columns + STEP_COLUMNS)


def amx_linear_by(
    multiply: Any, bits: int, group: int, with_zeros: int, scale_kind: int, variant: str
) -> Kernel:
    """out = x · wᵀ + bias. `multiply`, which `tiled` made, takes the tokens that fill no tile."""
    few_tokens = linear_chunks(multiply)
    tile_columns = step_columns(group)
    slab_columns = max(1, _SLAB_COLUMNS // group) * group if group else 0
    spread_out, scales_size = 8 // bits, 16 * WEIGHT_BYTES[scale_kind]

    @numba.njit
    def unpack_block(block, columns, next_block, target):
        """Unpack some columns, and fetch those of the block that comes next: computing takes long enough for that."""
        for vector in range(columns * 2 * bits // 64):
            fetch_line(next_block + 64 * vector)
            unpack_vector(block + 64 * vector, target + 64 * spread_out * vector, bits)
        for at in range(columns * 16, columns * 16 + 16 * STEP_COLUMNS, 64):
            store_vector(target + at, spread(0.0))

    @numba.njit
    def whole_tiles(row, step, worker, first_block, blocks, first, tokens):
        """Some row blocks of some tokens, a multiple of 16."""
        x_stride, out_stride = argument(row, LINEAR_INPUT_STRIDE), argument(row, LINEAR_OUTPUT_STRIDE)
        block_stride, columns = argument(row, LINEAR_BLOCK_STRIDE), argument(row, LINEAR_COLUMNS)
        groups = columns // group if group else 1
        scratch = field(worker, WORKER_SCRATCH)
        unpacked = scratch + SCRATCH_BYTES
        w = argument(row, LINEAR_WEIGHT) + first_block * block_stride
        scales = w + columns * 2 * bits
        zeros = scales + groups * scales_size
        x = argument(row, LINEAR_INPUT) + first * x_stride
        out = argument(row, LINEAR_OUTPUT) + first * out_stride + first_block * 64
        slab = min(slab_columns, columns) if group else columns
        stride = 16 * (slab + STEP_COLUMNS)
        for begin in range(0, columns, slab):
            size = min(slab, columns - begin)
            group_number = begin // group if group else 0
            for block in range(blocks):
                source = w + block * block_stride + begin * 2 * bits
                unpack_block(source, size, source + _PANEL_BLOCKS * block_stride, unpacked + block * stride)
            start, start_stride, start_step = argument(row, LINEAR_BIAS) + first_block * 64, 0, 0
            if begin > 0:
                start, start_stride, start_step = out, out_stride, TOKENS * out_stride
            for tile in range(tokens // TOKENS):
                place = x + tile * TOKENS * x_stride
                for block in range(blocks):
                    amx_tile(
                        unpacked + block * stride, scales + block * block_stride + group_number * scales_size,
                        zeros + block * block_stride + group_number * 16,
                        place + begin, place + columns + group_number * 4, x_stride,
                        start + tile * start_step + block * 64, start_stride,
                        out + tile * TOKENS * out_stride + block * 64, out_stride, size, groups, scratch,
                        bits, group, with_zeros, scale_kind,
                    )  # fmt: skip

    @numba.njit
    def many_tokens(row, step, worker):
        """Chunks are panels of row blocks × ranges of tokens."""
        x_stride, out_stride = argument(row, LINEAR_INPUT_STRIDE), argument(row, LINEAR_OUTPUT_STRIDE)
        block_stride, columns = argument(row, LINEAR_BLOCK_STRIDE), argument(row, LINEAR_COLUMNS)
        rows, num_blocks = field(step, argument(row, LINEAR_COUNT)), argument(row, LINEAR_BLOCKS)
        ranges = (rows + _RANGE_TOKENS - 1) // _RANGE_TOKENS
        num_chunks = (num_blocks + _PANEL_BLOCKS - 1) // _PANEL_BLOCKS * ranges
        configure(field(worker, WORKER_SCRATCH), tile_columns)
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            first_block, first = chunk // ranges * _PANEL_BLOCKS, chunk % ranges * _RANGE_TOKENS
            blocks, tokens = min(_PANEL_BLOCKS, num_blocks - first_block), min(_RANGE_TOKENS, rows - first)
            rest = tokens % TOKENS
            whole_tiles(row, step, worker, first_block, blocks, first, tokens - rest)
            if rest > 0:
                w = argument(row, LINEAR_WEIGHT) + first_block * block_stride
                first += tokens - rest
                x = argument(row, LINEAR_INPUT) + first * x_stride
                out = argument(row, LINEAR_OUTPUT) + first * out_stride + first_block * 64
                multiply(w, block_stride, blocks, x, x_stride, rest, argument(row, LINEAR_BIAS) + first_block * 64, 0,
                         out, out_stride, columns)  # fmt: skip
            chunk = take_chunk(worker, num_chunks)
        release()

    @kernel(variant=variant)
    def linear(row, step, worker):
        if field(step, argument(row, LINEAR_COUNT)) < TOKENS:
            few_tokens(row, step, worker)
        else:
            many_tokens(row, step, worker)

    return linear

"""The kernels of `Linear` on integer weights where the CPU has AMX, which serves up to 16 tokens at a time."""

from __future__ import annotations

from typing import Any

import numba

from ftllm_nb.kernels.activation_rows import OFFSET, RECORD_BYTES, SCALE, START
from ftllm_nb.kernels.amx_registers import release
from ftllm_nb.kernels.amx_tile import (
    AS_THEY_ARE,
    PACKED,
    SCRATCH_BYTES,
    SLAB_COLUMNS,
    STEP_COLUMNS,
    TOKEN_OFFSETS,
    TOKEN_SCALES,
    TOKEN_STARTS,
    TOKENS,
    UNPACKED,
    amx_tile,
    configure,
    lay_side_by_side,
    needs_offsets,
    needs_starts,
    step_columns,
)
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES
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
    without_scratch,
)

_PANEL_BLOCKS = 4
"""Row blocks of a chunk: they share the loads of a tile of tokens."""
_RANGE_TOKENS = 128
"""Tokens of a chunk, a multiple of 16: they share the unpacking of weights."""


def least_tokens(group: int) -> int:
    """Tokens of a step that is worth tiles, by the columns of a group, 0 for all: fewer are faster by vectors. A tile
    has a price at the end of each group that hardly depends on its tokens."""
    if group == 0:
        return 4
    return 13 if group <= STEP_COLUMNS else 9


def amx_scratch_bytes(columns: int) -> int:
    """Private memory that a worker needs: the tile's own, then a panel's unpacked weights."""
    return SCRATCH_BYTES + _PANEL_BLOCKS * 16 * columns


def amx_linear_by(multiply: Any, bits: int, group: int, with_zeros: int, scale_kind: int, variant: str) -> Kernel:
    """out = x · wᵀ + bias. `multiply`, which `few_tokens_by` made, takes steps of few tokens."""
    few_tokens, least = linear_chunks(without_scratch(multiply)), least_tokens(group)
    even_columns, odd_columns = step_columns(group)
    slab_columns = max(1, SLAB_COLUMNS // group) * group if group else 0
    scales_size = 16 * WEIGHT_BYTES[scale_kind]
    tile_of = _tile_by(bits, group, with_zeros, scale_kind)
    only_source = AS_THEY_ARE if bits == 8 else PACKED
    few_starts, many_starts = (needs_starts(source, with_zeros) for source in (only_source, UNPACKED))
    few_offsets = needs_offsets(only_source, bits, group, with_zeros)

    @numba.njit
    def whole_panel(row, step, worker, first_block, blocks, first, tokens):
        """Some row blocks of some tokens."""
        x_stride, out_stride = argument(row, LINEAR_INPUT_STRIDE), argument(row, LINEAR_OUTPUT_STRIDE)
        block_stride, columns = argument(row, LINEAR_BLOCK_STRIDE), argument(row, LINEAR_COLUMNS)
        groups = columns // group if group else 1
        scratch = field(worker, WORKER_SCRATCH)
        w = argument(row, LINEAR_WEIGHT) + first_block * block_stride
        w_scales = w + columns * 2 * bits
        w_zeros = w_scales + groups * scales_size
        slab = min(slab_columns, columns) if group else columns
        unpacked_stride = 16 * slab if tokens > TOKENS else 0
        shaped_for = 0
        for begin in range(0, columns, slab):
            size = min(slab, columns - begin)
            number, count = begin // group if group else 0, size // group if group else 1
            for tile in range(0, tokens, TOKENS):
                here = min(TOKENS, tokens - tile)
                if here != shaped_for:
                    configure(scratch, even_columns, odd_columns, here)
                    shaped_for = here
                x = argument(row, LINEAR_INPUT) + (first + tile) * x_stride
                records = x + columns + RECORD_BYTES * number
                lay_side_by_side(records + SCALE, x_stride, here, count, scratch + TOKEN_SCALES)
                if few_starts if tokens <= TOKENS else many_starts:
                    lay_side_by_side(records + START, x_stride, here, count, scratch + TOKEN_STARTS)
                if few_offsets and tokens <= TOKENS:
                    lay_side_by_side(records + OFFSET, x_stride, here, count, scratch + TOKEN_OFFSETS)
                for block in range(blocks):
                    packed = w + block * block_stride + begin * 2 * bits
                    unpacked = scratch + SCRATCH_BYTES + block * unpacked_stride
                    scales = w_scales + block * block_stride + number * scales_size
                    zeros = w_zeros + block * block_stride + number * 16
                    out = argument(row, LINEAR_OUTPUT) + (first + tile) * out_stride + (first_block + block) * 64
                    start, start_stride = argument(row, LINEAR_BIAS) + (first_block + block) * 64, 0
                    if begin > 0:
                        start, start_stride = out, out_stride
                    # What is fetched: for few tokens what is read next, for many what the next round of tiles will.
                    next_weights, next_scales = packed + block_stride, scales + block_stride
                    if begin + size < columns and tokens > TOKENS:
                        next_weights, next_scales = packed + size * 2 * bits, scales + count * scales_size
                    elif begin + size < columns and block == blocks - 1:
                        next_weights = w + (begin + size) * 2 * bits
                        next_scales = w_scales + (number + count) * scales_size
                    elif tokens > TOKENS:
                        next_weights = w + (_PANEL_BLOCKS + block) * block_stride
                        next_scales = w_scales + (_PANEL_BLOCKS + block) * block_stride
                    tile_of(tile, tokens, packed, unpacked, scales, zeros, x + begin, x_stride, start, start_stride,
                            out, out_stride, size, here, next_weights, next_scales, scratch)  # fmt: skip

    @numba.njit
    def many_tokens(row, step, worker):
        """Chunks are panels of row blocks × ranges of tokens."""
        rows, num_blocks = field(step, argument(row, LINEAR_COUNT)), argument(row, LINEAR_BLOCKS)
        ranges = (rows + _RANGE_TOKENS - 1) // _RANGE_TOKENS
        num_chunks = (num_blocks + _PANEL_BLOCKS - 1) // _PANEL_BLOCKS * ranges
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            first_block, first = chunk // ranges * _PANEL_BLOCKS, chunk % ranges * _RANGE_TOKENS
            blocks, tokens = min(_PANEL_BLOCKS, num_blocks - first_block), min(_RANGE_TOKENS, rows - first)
            whole_panel(row, step, worker, first_block, blocks, first, tokens)
            chunk = take_chunk(worker, num_chunks)
        release()

    @kernel(variant=variant)
    def linear(row, step, worker):
        if field(step, argument(row, LINEAR_COUNT)) < least:
            few_tokens(row, step, worker)
        else:
            many_tokens(row, step, worker)

    return linear


def _tile_by(bits: int, group: int, with_zeros: int, scale_kind: int) -> Any:
    """`amx_tile`, as a panel's tile from the token `first` on needs it, where the panel has `tokens`."""

    def of_source(source: int) -> Any:
        @numba.njit
        def tile(packed, unpacked, scales, zeros, x, x_stride, start, start_stride, out, out_stride, columns, tokens,
                 next_weights, next_scales, scratch):  # fmt: skip
            amx_tile(packed, unpacked, scales, zeros, x, x_stride, start, start_stride, out, out_stride, columns,
                     tokens, next_weights, next_scales, scratch, bits, group, with_zeros, scale_kind,
                     source)  # fmt: skip

        return tile

    only_source = AS_THEY_ARE if bits == 8 else PACKED
    only = of_source(only_source)
    first_tile = only if only_source == PACKED else of_source(PACKED)
    next_tile = of_source(UNPACKED)

    @numba.njit
    def tile_of(first, tokens, packed, unpacked, scales, zeros, x, x_stride, start, start_stride, out, out_stride,
                columns, here, next_weights, next_scales, scratch):  # fmt: skip
        if tokens <= TOKENS:
            only(packed, unpacked, scales, zeros, x, x_stride, start, start_stride, out, out_stride, columns, here,
                 next_weights, next_scales, scratch)  # fmt: skip
        elif first == 0:
            first_tile(packed, unpacked, scales, zeros, x, x_stride, start, start_stride, out, out_stride, columns,
                       here, next_weights, next_scales, scratch)  # fmt: skip
        else:
            next_tile(packed, unpacked, scales, zeros, x, x_stride, start, start_stride, out, out_stride, columns, here,
                      next_weights, next_scales, scratch)  # fmt: skip

    return tile_of

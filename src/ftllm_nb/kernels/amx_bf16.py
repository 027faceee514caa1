"""Linear on bfloat16 weights where the CPU has AMX: activations are one bfloat16 each, or the sum of two.

bf16_parts.py makes them. A part of a token is a row of a tile register, 16 rows fill one; the dot products of a
token's parts are added at the end. A row's dot product does not depend on the other rows, so that bits do not depend on
the tokens beside it: one token and many use the same instruction.

A block of 16 rows of weights lies as `[columns/2][16][2]`, columns padded with zeros to a multiple of 32.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ftllm_nb.kernels.amx_registers import (
    CONFIGURATION_BYTES,
    ROW_BYTES,
    configure_registers,
    load_register,
    multiply_registers,
    release,
    store_register,
    zero_register,
)
from ftllm_nb.kernels.bf16_parts import STEP_COLUMNS, TILE_ROWS
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.embedding import (
    EMBEDDING_BLOCK_STRIDE,
    EMBEDDING_FEATURES,
    EMBEDDING_IDS,
    EMBEDDING_OUTPUT,
    EMBEDDING_OUTPUT_STRIDE,
    EMBEDDING_WEIGHT,
    row_number,
)
from ftllm_nb.kernels.emit import I64, emitted, literal, prefetch
from ftllm_nb.kernels.matmul_tile import BFLOAT16, WEIGHT_BYTES, load_weight, store_weight
from ftllm_nb.kernels.memory import store_f32
from ftllm_nb.kernels.pack import PACK_COLUMNS, PACK_ROWS, PACK_SOURCE, PACK_TARGET
from ftllm_nb.kernels.simd import load_vector, store_vector
from ftllm_nb.kernels.step import STEP_TOKENS, WORKER_SCRATCH, argument, field, take_chunk
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
)

SLAB_STEPS = 8
"""Multiplications of a run of columns that all rows of a chunk go through before the next run: the weights of a panel's
run stay in the first cache."""
PANEL_BLOCKS = 4
RANGE_ROWS = 256
"""Rows of a chunk, parts of tokens: a multiple of two tiles."""
TILE_BYTES = 1024
SCRATCH_BYTES = CONFIGURATION_BYTES + (RANGE_ROWS // TILE_ROWS) * PANEL_BLOCKS * TILE_BYTES
"""Private memory of a worker: the registers' configuration, then the sums of each tile with each block."""
FETCH_BYTES = 2048
"""How far ahead of a few tokens' loop weights are fetched."""


@emitted(types.void, types.int64, types.int64, types.int64)
def configure(builder, scratch, first_rows, second_rows):
    """Registers 0, 1 (dots) and 4 (parts) of `first_rows` rows, 2, 3, 5 of `second_rows`, 6 and 7 (weights) of 16."""
    first = builder.mul(first_rows, _i64(0x0000_0001_0000_0101))
    second = builder.mul(second_rows, _i64(0x0000_0100_0101_0000))
    rows = builder.or_(builder.or_(first, second), _i64(0x1010_0000_0000_0000))
    wide = _i64(0x0040_0040_0040_0040)
    configure_registers(builder, scratch, (wide, wide), rows)


@intrinsic(prefer_literal=True)
def multiply_tiles(
    typing_context, w, block_stride, x, step_bytes, second_x, second_step_bytes, steps, sums, is_first, fetch,
    tiles, blocks,
):
    """sums += parts · weights, for `tiles` (1 or 2) tiles of rows and `blocks` (1 or 2) blocks, over some steps.

    Sums of tile t and block b are at `sums` + TILE_BYTES · (PANEL_BLOCKS · t + b), `[rows][16]` float32; they begin at
    zero where `is_first`. `fetch`: whether to fetch weights ahead. `tiles`, `blocks` and `fetch` are constants.
    """
    num_tiles, num_blocks, fetches = literal(tiles), literal(blocks), literal(fetch)
    signature = types.void(*([types.int64] * 9), fetch, tiles, blocks)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, given: Any) -> Any:
        b = builder
        w, block_stride, x, step_bytes, second_x, second_step_bytes, steps, sums, is_first = given[:9]
        row_bytes = _i64(ROW_BYTES)
        cells = [(t, block) for t in range(num_tiles) for block in range(num_blocks)]
        places = {cell: b.add(sums, _i64(TILE_BYTES * (PANEL_BLOCKS * cell[0] + cell[1]))) for cell in cells}
        with b.if_else(b.icmp_signed("!=", is_first, _i64(0))) as (begin, go_on):
            with begin:
                for t, block in cells:
                    zero_register(b, 2 * t + block)
            with go_on:
                for t, block in cells:
                    load_register(b, 2 * t + block, places[t, block], row_bytes)
        rows = [b.add(w, b.mul(block_stride, _i64(block))) for block in range(num_blocks)]
        sources = [(x, step_bytes), (second_x, second_step_bytes)][:num_tiles]
        with cgutils.for_range(b, steps) as loop:
            for t, (source, stride) in enumerate(sources):
                load_register(b, 4 + t, b.add(source, b.mul(loop.index, stride)), row_bytes)
            for block, row in enumerate(rows):
                place = b.add(row, b.mul(loop.index, _i64(TILE_BYTES)))
                if fetches:
                    for line in range(0, TILE_BYTES, 64):
                        prefetch(b, b.add(place, _i64(FETCH_BYTES + line)))
                load_register(b, 6 + block, place, row_bytes)
                for t in range(num_tiles):
                    multiply_registers(b, "tdpbf16ps", 2 * t + block, 4 + t, 6 + block)
        for t, block in cells:
            store_register(b, 2 * t + block, places[t, block], row_bytes)
        return context.get_dummy_value()

    return signature, generate


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


@numba.njit
def _multiply_run(w, block_stride, num_blocks, x, x_stride, rows, first_step, steps, sums, scratch):
    """The sums of all rows with all blocks, over the steps from `first_step` on; `x_stride`: bytes of a row."""
    is_first = 1 if first_step == 0 else 0
    row = 0
    while row < rows:
        first = min(TILE_ROWS, rows - row)
        second = min(TILE_ROWS, rows - row - first)
        if row == 0 or first + second < 2 * TILE_ROWS:
            configure(scratch, first, max(second, 1))
        bytes_, second_bytes = 64 * first, 64 * second
        here = x + row * x_stride + first_step * bytes_
        second_x = x + (row + first) * x_stride + first_step * second_bytes
        for block in range(0, num_blocks, 2):
            place = w + block * block_stride + first_step * TILE_BYTES
            target = sums + TILE_BYTES * (row // TILE_ROWS * PANEL_BLOCKS + block)
            two_blocks = num_blocks - block > 1
            if second > 0 and two_blocks:
                multiply_tiles(place, block_stride, here, bytes_, second_x, second_bytes, steps, target, is_first,
                               0, 2, 2)  # fmt: skip
            elif second > 0:
                multiply_tiles(place, block_stride, here, bytes_, second_x, second_bytes, steps, target, is_first,
                               0, 2, 1)  # fmt: skip
            elif two_blocks:
                multiply_tiles(place, block_stride, here, bytes_, here, bytes_, steps, target, is_first, 1, 1, 2)
            else:
                multiply_tiles(place, block_stride, here, bytes_, here, bytes_, steps, target, is_first, 1, 1, 1)
        row += first + second


@functools.cache
def linear_kernel(parts: int) -> Kernel:
    """out = x · wᵀ + bias, for activations of `parts` (1 or 2) bfloat16. Chunks: panels of row blocks × ranges of x."""

    @kernel(variant=f"{parts}")
    def linear(row, step, worker):
        x_stride, out_stride = argument(row, LINEAR_INPUT_STRIDE) // parts, argument(row, LINEAR_OUTPUT_STRIDE)
        block_stride, all_blocks = argument(row, LINEAR_BLOCK_STRIDE), argument(row, LINEAR_BLOCKS)
        all_rows = parts * field(step, argument(row, LINEAR_COUNT))
        steps = argument(row, LINEAR_COLUMNS) // STEP_COLUMNS
        scratch = field(worker, WORKER_SCRATCH)
        sums = scratch + CONFIGURATION_BYTES
        ranges = (all_rows + RANGE_ROWS - 1) // RANGE_ROWS
        num_chunks = (all_blocks + PANEL_BLOCKS - 1) // PANEL_BLOCKS * ranges
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            block, begin = chunk // ranges * PANEL_BLOCKS, chunk % ranges * RANGE_ROWS
            rows, num_blocks = min(RANGE_ROWS, all_rows - begin), min(PANEL_BLOCKS, all_blocks - block)
            w = argument(row, LINEAR_WEIGHT) + block * block_stride
            x = argument(row, LINEAR_INPUT) + begin * x_stride
            at_once = SLAB_STEPS if rows > 2 * TILE_ROWS else steps
            for first in range(0, steps, at_once):
                run = min(at_once, steps - first)
                _multiply_run(w, block_stride, num_blocks, x, x_stride, rows, first, run, sums, scratch)
            for at in range(0, rows, parts):
                tile_sums = sums + TILE_BYTES * PANEL_BLOCKS * (at // TILE_ROWS) + 64 * (at % TILE_ROWS)
                out = argument(row, LINEAR_OUTPUT) + (begin + at) // parts * out_stride + block * 64
                bias = argument(row, LINEAR_BIAS) + block * 64
                for number in range(num_blocks):
                    place = tile_sums + TILE_BYTES * number
                    total = load_vector(place)
                    if parts == 2:
                        total = load_vector(place + 64) + total
                    store_vector(out + 64 * number, total + load_vector(bias + 64 * number))
            chunk = take_chunk(worker, num_chunks)
        release()

    return linear


@functools.cache
def pack_pairs_kernel(source_kind: int) -> Kernel:
    """Pack a row-major matrix into blocks of 16 rows of pairs of bfloat16; arguments as for `pack_kernel`."""
    source_bytes = WEIGHT_BYTES[source_kind]

    @kernel(variant=f"{source_kind}")
    def pack_pairs(row, step, worker):
        rows, columns = argument(row, PACK_ROWS), argument(row, PACK_COLUMNS)
        padded = (columns + STEP_COLUMNS - 1) // STEP_COLUMNS * STEP_COLUMNS
        num_blocks = (rows + 15) // 16
        block = take_chunk(worker, num_blocks)
        while block >= 0:
            target = argument(row, PACK_TARGET) + block * padded * 32
            for lane in range(16):
                source = argument(row, PACK_SOURCE) + (block * 16 + lane) * columns * source_bytes
                is_there = block * 16 + lane < rows
                for at in range(padded):
                    place = target + at // 2 * 64 + lane * 4 + at % 2 * 2
                    if is_there and at < columns:
                        store_weight(place, load_weight(source + at * source_bytes, source_kind), BFLOAT16)
                    else:
                        store_weight(place, np.float32(0.0), BFLOAT16)
            block = take_chunk(worker, num_blocks)

    return pack_pairs


@kernel()
def pair_embedding(row, step, worker):
    """out[t] = the matrix's row that the t-th id names, as float32. A chunk is a token."""
    features, ids = argument(row, EMBEDDING_FEATURES), field(step, argument(row, EMBEDDING_IDS))
    num_tokens = field(step, STEP_TOKENS)
    token = take_chunk(worker, num_tokens)
    while token >= 0:
        token_id = row_number(row, ids, token)
        block = argument(row, EMBEDDING_WEIGHT) + token_id // 16 * argument(row, EMBEDDING_BLOCK_STRIDE)
        target = argument(row, EMBEDDING_OUTPUT) + token * argument(row, EMBEDDING_OUTPUT_STRIDE)
        for at in range(features):
            place = block + at // 2 * 64 + token_id % 16 * 4 + at % 2 * 2
            store_f32(target + 4 * at, load_weight(place, BFLOAT16))
        token = take_chunk(worker, num_tokens)

"""Matrix products of any size put together from tiles, and the kernels of `Linear`, whatever the weights' format."""

from __future__ import annotations

from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.fetching import SHORT_ROW_BYTES, SHORT_ROWS_IN_STEP
from ftllm_nb.kernels.loop_choice import loop_choice
from ftllm_nb.kernels.memory import fetch_lines
from ftllm_nb.kernels.simd import load_vector, store_vector_partial
from ftllm_nb.kernels.step import WORKER_SCRATCH, argument, field, take_chunk
from ftllm_nb.kernels.tiers import current_tier

PANEL_BLOCKS = 4
"""Row blocks (of 16 rows) of a chunk: one token's loop keeps as many chains of multiply-adds in flight."""
RANGE_TOKENS = 96
"""Tokens of a chunk in a prefill: a multiple of every tile's tokens."""


def tiled(tile: Any, shapes: tuple[tuple[int, int], ...]) -> Any:
    """A compiled function `multiply(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out,
    out_stride, columns)`: out[r, 16·b + l] = start[r, 16·b + l] + Σ_k x[r, k] · w[b, k, l], r < rows, b < num_blocks.

    `tile` takes the same arguments without `num_blocks` and `rows`, then how many tokens and blocks to do, constants.
    `shapes`: three (tokens, blocks), tallest first, the last of one token; each takes as many rows as it can.
    """
    tall, small, single = (_rows_by_tile(tile, tokens, blocks) for tokens, blocks in shapes)

    @numba.njit
    def multiply(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns):
        row = tall(w, block_stride, num_blocks, x, x_stride, 0, rows, start, start_stride, out, out_stride, columns)
        row = small(w, block_stride, num_blocks, x, x_stride, row, rows, start, start_stride, out, out_stride, columns)
        single(w, block_stride, num_blocks, x, x_stride, row, rows, start, start_stride, out, out_stride, columns)

    return multiply


def few_tokens_by(tile: Any, fetching_tile: Any, tokens: int, most_tokens: int, blocks: int) -> Any:
    """As `tiled`, for few rows: they go through `blocks` blocks of weights at a time, all of them, and fetch the next
    ones meanwhile, since products take about as long as memory.

    `fetching_tile` takes the same arguments as `tile`, and before how many tokens and blocks to do, the address of what
    is fetched, and which part of how many of it. It does `tokens` rows at a time, or `most_tokens`, as many or 2 more,
    which are too many for the registers, but better where that spares the blocks a pass. An odd row, and blocks that
    are left, take tiles of one token.
    """
    assert tokens <= most_tokens <= tokens + 2, "a tile must not pass the last row"
    assert tokens % 2 == most_tokens % 2 == 0, "rows are even"
    middle = min(4, tokens)
    single = _single_rows_by(tile)

    @numba.njit
    def few(w, block_stride, x, x_stride, rows, start, start_stride, out, out_stride, columns):
        parts = 1 if rows <= most_tokens else 2
        row, part, following = 0, 0, w + blocks * block_stride
        while row < rows:
            if part == parts:  # all of it is on its way
                part, following = 0, w
            values, begin, place = x + row * x_stride, start + row * start_stride, out + row * out_stride
            left = rows - row
            if -(-left // most_tokens) < -(-left // tokens):
                fetching_tile(w, block_stride, values, x_stride, begin, start_stride, place, out_stride, columns,
                              following, part, parts, most_tokens, blocks)  # fmt: skip
                row += most_tokens
            elif left >= tokens:
                fetching_tile(w, block_stride, values, x_stride, begin, start_stride, place, out_stride, columns,
                              following, part, parts, tokens, blocks)  # fmt: skip
                row += tokens
            elif left >= middle:
                fetching_tile(w, block_stride, values, x_stride, begin, start_stride, place, out_stride, columns,
                              following, part, parts, middle, blocks)  # fmt: skip
                row += middle
            else:
                fetching_tile(w, block_stride, values, x_stride, begin, start_stride, place, out_stride, columns,
                              following, part, parts, 2, blocks)  # fmt: skip
                row += 2
            part += 1

    @numba.njit
    def multiply(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns):
        whole, pairs = num_blocks // blocks * blocks, rows // 2 * 2
        for block in range(0, whole, blocks):
            few(w + block * block_stride, block_stride, x, x_stride, pairs, start + 64 * block, start_stride,
                out + 64 * block, out_stride, columns)  # fmt: skip
        single(w, block_stride, whole, x, x_stride, pairs, rows, start, start_stride, out, out_stride, columns)
        single(w + whole * block_stride, block_stride, num_blocks - whole, x, x_stride, 0, rows, start + 64 * whole,
               start_stride, out + 64 * whole, out_stride, columns)  # fmt: skip

    return multiply


def _single_rows_by(tile: Any) -> Any:
    """As `_rows_by_tile`, of one token at a time: fetching.py says how many blocks are walked in step."""
    long = _rows_by_tile(tile, 1, PANEL_BLOCKS)
    if not loop_choice().rows:
        return long
    short = _rows_by_tile(tile, 1, SHORT_ROWS_IN_STEP)

    @numba.njit
    def single(w, block_stride, num_blocks, x, x_stride, row, rows, start, start_stride, out, out_stride, columns):
        if block_stride <= SHORT_ROW_BYTES:
            return short(
                w, block_stride, num_blocks, x, x_stride, row, rows, start, start_stride, out, out_stride, columns
            )
        return long(w, block_stride, num_blocks, x, x_stride, row, rows, start, start_stride, out, out_stride, columns)

    return single


def without_scratch(multiply: Any) -> Any:
    """What `tiled` made, or one like it, with a last argument that it ignores."""

    @numba.njit
    def multiply_so(
        w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns, scratch
    ):
        multiply(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns)

    return multiply_so


def _rows_by_tile(tile: Any, tokens: int, blocks: int) -> Any:
    """Rows from `row` on while there are enough for a tile; the first row that is left."""

    @numba.njit
    def rows_by_tile(
        w, block_stride, num_blocks, x, x_stride, row, rows, start, start_stride, out, out_stride, columns
    ):
        while rows - row >= tokens:
            block = 0
            while num_blocks - block >= blocks:
                tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                     start + row * start_stride + block * 64, start_stride,
                     out + row * out_stride + block * 64, out_stride, columns, tokens, blocks)  # fmt: skip
                block += blocks
            while block < num_blocks:
                tile(w + block * block_stride, block_stride, x + row * x_stride, x_stride,
                     start + row * start_stride + block * 64, start_stride,
                     out + row * out_stride + block * 64, out_stride, columns, tokens, 1)  # fmt: skip
                block += 1
            row += tokens
        return row

    return rows_by_tile


def grouped(tile: Any, multiply: Any, rows: int) -> Any:
    """As `tiled`, of just so many rows, with one more argument: the address of packed weights, laid out alike, that are
    needed next. They are fetched a line at a time between the products: a burst of requests would have to wait for the
    few that a core can have under way.

    `tile` takes, before how many tokens and blocks to do, how far ahead of its own weights those lie; `multiply`: what
    `tiled` made, for numbers of rows of which no tile is.
    """
    tier = current_tier()
    if not 1 < rows <= tier.tile_tokens:

        @numba.njit
        def multiply_then(
            w, block_stride, num_blocks, x, x_stride, start, start_stride, out, out_stride, columns, following
        ):
            fetch_lines(following, num_blocks * block_stride)
            multiply(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns)

        return multiply_then

    accumulators = tier.tile_tokens * tier.tile_blocks
    width = next(blocks for blocks in (4, 2, 1) if blocks == 1 or rows * blocks <= accumulators)

    @numba.njit
    def multiply_group(
        w, block_stride, num_blocks, x, x_stride, start, start_stride, out, out_stride, columns, following
    ):
        ahead, block = following - w, 0
        while num_blocks - block >= width:
            tile(w + block * block_stride, block_stride, x, x_stride, start + 64 * block, start_stride,
                 out + 64 * block, out_stride, columns, ahead, rows, width)  # fmt: skip
            block += width
        while block < num_blocks:
            tile(w + block * block_stride, block_stride, x, x_stride, start + 64 * block, start_stride,
                 out + 64 * block, out_stride, columns, ahead, rows, 1)  # fmt: skip
            block += 1

    return multiply_group


(LINEAR_INPUT, LINEAR_INPUT_STRIDE, LINEAR_COLUMNS, LINEAR_WEIGHT, LINEAR_BLOCK_STRIDE, LINEAR_BLOCKS, LINEAR_BIAS,
 LINEAR_OUTPUT, LINEAR_OUTPUT_STRIDE, LINEAR_COUNT, LINEAR_HEADS, LINEAR_HEAD_SIZE) = range(12)  # fmt: skip
"""Arguments of the rows of Linear's kernels. `COLUMNS`: of the packed weights; `BLOCK_STRIDE`: bytes of a block of
16 rows; `BIAS`: float32 [16 · blocks], zeros where there is none; `COUNT`: the step's field with the number of rows;
`HEADS` and `HEAD_SIZE`, a head's output features: of `head_linear_by` alone."""

HEAD_SCRATCH_BYTES = 64 * PANEL_BLOCKS * RANGE_TOKENS
"""Private memory that a worker of `head_linear_by` needs."""


def linear_by(multiply: Any, variant: str, range_tokens: int = RANGE_TOKENS) -> Kernel:
    """out = x · wᵀ + bias by a function like those that `tiled` makes, with one more argument, a worker's scratch.
    `range_tokens`: most tokens of a chunk."""
    chunks = linear_chunks(multiply, range_tokens)

    @kernel(variant=variant)
    def linear(row, step, worker):
        chunks(row, step, worker)

    return linear


def head_linear_by(multiply: Any, variant: str) -> Kernel:
    """out[head] = x[head] · w[head]ᵀ by a function that `tiled` made, on the rows of `linear_by` and how many heads
    there are: their inputs lie side by side, their outputs and their blocks, too. `COLUMNS` and `BLOCKS`: of one head;
    `BIAS`: zeros for a panel."""

    @kernel(variant=variant)
    def head_linear(row, step, worker):
        x, x_stride = argument(row, LINEAR_INPUT), argument(row, LINEAR_INPUT_STRIDE)
        w, block_stride = argument(row, LINEAR_WEIGHT), argument(row, LINEAR_BLOCK_STRIDE)
        num_blocks, columns = argument(row, LINEAR_BLOCKS), argument(row, LINEAR_COLUMNS)
        out, out_stride = argument(row, LINEAR_OUTPUT), argument(row, LINEAR_OUTPUT_STRIDE)
        rows = field(step, argument(row, LINEAR_COUNT))
        ranges = (rows + RANGE_TOKENS - 1) // RANGE_TOKENS
        panels = (num_blocks + PANEL_BLOCKS - 1) // PANEL_BLOCKS
        size, num_chunks = argument(row, LINEAR_HEAD_SIZE), argument(row, LINEAR_HEADS) * panels * ranges
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            first_row, panel = chunk % ranges * RANGE_TOKENS, chunk // ranges
            head, first_block = panel // panels, panel % panels * PANEL_BLOCKS
            blocks, count = min(PANEL_BLOCKS, num_blocks - first_block), min(RANGE_TOKENS, rows - first_row)
            place = out + first_row * out_stride + 4 * (head * size + 16 * first_block)
            features = min(16 * blocks, size - 16 * first_block)
            target, stride = place, out_stride
            if features < 16 * blocks:  # the last block's padding would lie over the next head
                target, stride = field(worker, WORKER_SCRATCH), 64 * PANEL_BLOCKS
            multiply(
                w + (head * num_blocks + first_block) * block_stride,
                block_stride,
                blocks,
                x + first_row * x_stride + head * columns * 4,
                x_stride,
                count,
                argument(row, LINEAR_BIAS),
                0,
                target,
                stride,
                columns,
            )
            if target != place:
                for each in range(count):
                    for at in range(0, features, 16):
                        values = load_vector(target + each * stride + 4 * at)
                        store_vector_partial(place + each * out_stride + 4 * at, values, features - at)
            chunk = take_chunk(worker, num_chunks)

    return head_linear


def linear_chunks(multiply: Any, range_tokens: int = RANGE_TOKENS) -> Any:
    """What a worker does in the kernel of `linear_by`: chunks are row panels × ranges of tokens."""

    @numba.njit
    def chunks(row, step, worker):
        x, x_stride = argument(row, LINEAR_INPUT), argument(row, LINEAR_INPUT_STRIDE)
        w, block_stride = argument(row, LINEAR_WEIGHT), argument(row, LINEAR_BLOCK_STRIDE)
        num_blocks, bias = argument(row, LINEAR_BLOCKS), argument(row, LINEAR_BIAS)
        out, out_stride = argument(row, LINEAR_OUTPUT), argument(row, LINEAR_OUTPUT_STRIDE)
        rows = field(step, argument(row, LINEAR_COUNT))
        ranges = (rows + range_tokens - 1) // range_tokens
        num_chunks = (num_blocks + PANEL_BLOCKS - 1) // PANEL_BLOCKS * ranges
        chunk = take_chunk(worker, num_chunks)
        while chunk >= 0:
            first_block = chunk // ranges * PANEL_BLOCKS
            first_row = chunk % ranges * range_tokens
            multiply(
                w + first_block * block_stride,
                block_stride,
                min(PANEL_BLOCKS, num_blocks - first_block),
                x + first_row * x_stride,
                x_stride,
                min(range_tokens, rows - first_row),
                bias + first_block * 64,
                0,
                out + first_row * out_stride + first_block * 64,
                out_stride,
                argument(row, LINEAR_COLUMNS),
                field(worker, WORKER_SCRATCH),
            )
            chunk = take_chunk(worker, num_chunks)

    return chunks

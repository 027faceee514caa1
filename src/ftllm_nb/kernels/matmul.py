"""Matrix products with float weights, of any size, and the kernels of `Linear` on them."""

from __future__ import annotations

import functools
from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.matmul_tile import matmul_tile
from ftllm_nb.kernels.memory import fetch_lines
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import PANEL_BLOCKS, linear_by, tiled


@functools.cache
def float_matmul(kind: int) -> Any:
    """The function that `tiled` makes for packed weights of type `kind`."""

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks):
        matmul_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
                    0, tokens, blocks, kind)  # fmt: skip

    tier = current_tier()
    shapes = ((tier.tile_tokens, tier.tile_blocks), (tier.small_tokens, tier.small_blocks), (1, PANEL_BLOCKS))
    return tiled(tile, shapes)


@functools.cache
def group_matmul(kind: int, rows: int) -> Any:
    """As `float_matmul`, of just so many rows, with one more argument: the address of packed weights, laid out alike,
    that are needed next. They are fetched a line at a time between the products: a burst of requests would have to
    wait for the few that a core can have under way."""
    tier = current_tier()
    if not 1 < rows <= tier.tile_tokens:
        multiply = float_matmul(kind)

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
            matmul_tile(w + block * block_stride, block_stride, x, x_stride, start + 64 * block, start_stride,
                        out + 64 * block, out_stride, columns, ahead, rows, width, kind)  # fmt: skip
            block += width
        while block < num_blocks:
            matmul_tile(w + block * block_stride, block_stride, x, x_stride, start + 64 * block, start_stride,
                        out + 64 * block, out_stride, columns, ahead, rows, 1, kind)  # fmt: skip
            block += 1

    return multiply_group


@functools.cache
def linear_kernel(kind: int) -> Kernel:
    """out = x · wᵀ + bias on packed float weights of type `kind`."""
    return linear_by(float_matmul(kind), f"float{kind}")

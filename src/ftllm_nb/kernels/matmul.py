"""Matrix products with float weights, of any size, and the kernels of `Linear` on them."""

from __future__ import annotations

import functools
from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.matmul_tile import matmul_tile
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import PANEL_BLOCKS, linear_by, tiled


@functools.cache
def float_matmul(kind: int, rows: int = 0) -> Any:
    """The function that `tiled` makes for packed weights of type `kind`; `rows`: how many it will mostly be given."""

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks):
        matmul_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks, kind)

    tier = current_tier()
    tall = (tier.tile_tokens, tier.tile_blocks)
    accumulators = tall[0] * tall[1]
    if 1 < rows <= tier.tile_tokens:
        tall = (rows, next(blocks for blocks in (4, 2, 1) if blocks == 1 or rows * blocks <= accumulators))
    return tiled(tile, (tall, (tier.small_tokens, tier.small_blocks), (1, PANEL_BLOCKS)))


@functools.cache
def linear_kernel(kind: int) -> Kernel:
    """out = x · wᵀ + bias on packed float weights of type `kind`."""
    return linear_by(float_matmul(kind), f"float{kind}")

"""Matrix products with float weights, of any size, and the kernels of `Linear` on them."""

from __future__ import annotations

import functools
from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.experts import expert_linear_by
from ftllm_nb.kernels.matmul_tile import matmul_tile
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import PANEL_BLOCKS, grouped, head_linear_by, linear_by, tiled, without_scratch


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
    """The function that `grouped` makes for packed weights of type `kind`."""

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, ahead, tokens, blocks):
        matmul_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
                    ahead, tokens, blocks, kind)  # fmt: skip

    return grouped(tile, float_matmul(kind), rows)


@functools.cache
def linear_kernel(kind: int) -> Kernel:
    """out = x · wᵀ + bias on packed float weights of type `kind`."""
    return linear_by(without_scratch(float_matmul(kind)), f"float{kind}")


@functools.cache
def expert_linear_kernel(kind: int) -> Kernel:
    """The same of each slot and its expert's weights; see experts.py."""
    return expert_linear_by(without_scratch(float_matmul(kind)), f"float{kind}")


@functools.cache
def head_linear_kernel(kind: int) -> Kernel:
    """Each head's product with packed float weights of its own, of type `kind`."""
    return head_linear_by(float_matmul(kind), f"float{kind}")

"""Products with matrices of codes, of any size, and the kernels of `Linear` and of experts on them."""

from __future__ import annotations

import functools
from typing import Any

import numba

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.experts import expert_linear_by
from ftllm_nb.kernels.scaled.tile import scaled_tile
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import PANEL_BLOCKS, linear_by, tiled, without_scratch

Layout = tuple[int, int, int, int]
"""The code's number, columns of a group, the scales' type, and whether there are offsets."""


@functools.cache
def _matmul(layout: Layout) -> Any:
    """The function that `tiled` makes."""
    code, group, scale_kind, has_offsets = layout

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks):
        scaled_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
                    tokens, blocks, code, group, scale_kind, has_offsets)  # fmt: skip

    tier = current_tier()
    shapes = ((tier.tile_tokens, tier.tile_blocks), (tier.small_tokens, tier.small_blocks), (1, PANEL_BLOCKS))
    return tiled(tile, shapes)


@functools.cache
def scaled_linear_kernel(layout: Layout) -> Kernel:
    """out = x · wᵀ + bias."""
    return linear_by(without_scratch(_matmul(layout)), f"scaled{'_'.join(map(str, layout))}")


@functools.cache
def scaled_expert_kernel(layout: Layout) -> Kernel:
    """The same of each slot and its expert's weights; see experts.py."""
    return expert_linear_by(without_scratch(_matmul(layout)), f"scaled{'_'.join(map(str, layout))}")

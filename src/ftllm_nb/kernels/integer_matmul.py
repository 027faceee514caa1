"""Matrix products with integer weights, of any size, and the kernels of `Linear` on them."""

from __future__ import annotations

import functools

import numba

from ftllm_nb.kernels.amx_matmul import amx_linear_by, amx_scratch_bytes
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.integer_tile import integer_tile
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import linear_by, tiled_with_fetching


@functools.cache
def integer_linear_kernel(bits: int, group: int, with_zeros: int, scale_kind: int) -> Kernel:
    """out = x · wᵀ + bias on packed integer weights and quantized activations; see integer_tile.py."""

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks):
        integer_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
                     0, 0, 1, tokens, blocks, bits, group, with_zeros, scale_kind)  # fmt: skip

    @numba.njit(inline="always")
    def fetching_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, following, part,
                      parts, tokens, blocks):  # fmt: skip
        integer_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
                     following, part, parts, tokens, blocks, bits, group, with_zeros, scale_kind)  # fmt: skip

    tier = current_tier()
    multiply = tiled_with_fetching(tile, fetching_tile, tier.dot_tokens, tier.most_dot_tokens, tier.dot_blocks)
    variant = f"int{bits}_{group}_{with_zeros}_{scale_kind}"
    if tier.multiplies_matrices:
        return amx_linear_by(multiply, bits, group, with_zeros, scale_kind, variant)
    return linear_by(multiply, variant)


def linear_scratch_bytes(columns: int) -> int:
    """Private memory that a worker needs for a product with weights of so many (padded) columns."""
    return amx_scratch_bytes(columns) if current_tier().multiplies_matrices else 0

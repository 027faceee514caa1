"""Matrix products with integer weights, of any size, and the kernels of `Linear` on them."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numba

from ftllm_nb.kernels.activation_rows import RECORD_BYTES
from ftllm_nb.kernels.amx_matmul import amx_linear_by, amx_scratch_bytes
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.experts import expert_linear_by
from ftllm_nb.kernels.integer_tile import integer_tile, lay_apart
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import few_tokens_by, linear_by

_SLAB_BYTES = 16384
"""Of weights laid apart: they stay in the first cache while all tokens of a chunk are multiplied by them."""
_APART_BYTES = 16
"""Of a column of a block whose weights of 4 bits are laid apart."""
_FEW_ROWS = 24
"""Up to so many rows, memory takes about as long as the products."""


@functools.cache
def integer_linear_kernel(bits: int, group: int, with_zeros: int, scale_kind: int) -> Kernel:
    """out = x · wᵀ + bias on packed integer weights and quantized activations; see integer_tile.py."""
    constants = (bits, group, with_zeros, scale_kind)
    if current_tier().multiplies_matrices:
        return amx_linear_by(_few_tokens_by(*constants), *constants, _variant(*constants))
    return linear_by(_multiply_by(*constants), _variant(*constants))


@functools.cache
def integer_expert_kernel(bits: int, group: int, with_zeros: int, scale_kind: int) -> Kernel:
    """The same of each slot and its expert's weights; see experts.py. Without AMX: an expert has few tokens."""
    constants = (bits, group, with_zeros, scale_kind)
    return expert_linear_by(_multiply_by(*constants), _variant(*constants))


def _variant(bits: int, group: int, with_zeros: int, scale_kind: int) -> str:
    return f"int{bits}_{group}_{with_zeros}_{scale_kind}"


def _few_tokens_by(bits: int, group: int, with_zeros: int, scale_kind: int) -> Any:
    """As `few_tokens_by` makes it."""
    tier = current_tier()
    tile, fetching_tile = _tiles(bits, group, with_zeros, scale_kind)
    return few_tokens_by(tile, fetching_tile, tier.dot_tokens, tier.most_dot_tokens, tier.dot_blocks)


def _many_tokens(bits: int) -> int:
    """Tokens of a tile where there are many."""
    tier = current_tier()
    return tier.many_dot_tokens if bits == 4 else tier.dot_tokens


def _multiply_by(bits: int, group: int, with_zeros: int, scale_kind: int) -> Any:
    """As `linear_by` takes it."""
    tier = current_tier()
    tokens, blocks = _many_tokens(bits), tier.dot_blocks
    few = _few_tokens_by(bits, group, with_zeros, scale_kind)
    many = _many_tokens_by(bits, group, with_zeros, scale_kind)

    @numba.njit
    def multiply(
        w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns, scratch
    ):
        whole = num_blocks // blocks * blocks
        done = rows // tokens * tokens if rows > _FEW_ROWS else 0
        many(w, block_stride, whole, x, x_stride, done, start, start_stride, out, out_stride, columns, scratch)
        few(w, block_stride, num_blocks, x + done * x_stride, x_stride, rows - done, start + done * start_stride,
            start_stride, out + done * out_stride, out_stride, columns)  # fmt: skip
        few(w + whole * block_stride, block_stride, num_blocks - whole, x, x_stride, done, start + 64 * whole,
            start_stride, out + 64 * whole, out_stride, columns)  # fmt: skip

    return multiply


def linear_scratch_bytes(bits: int, group: int, columns: int) -> int:
    """Private memory that a worker needs for a product with weights of so many (padded) columns."""
    tier = current_tier()
    if tier.multiplies_matrices:
        return amx_scratch_bytes(columns)
    if bits == 8:
        return 0
    return tier.dot_blocks * min(columns, _slab_columns(group)) * _APART_BYTES


def _slab_columns(group: int) -> int:
    """Most columns whose weights are laid apart at a time: whole groups, from which sums go on."""
    if group == 0:
        return sys.maxsize
    most = _SLAB_BYTES // (current_tier().dot_blocks * _APART_BYTES)
    return max(1, most // group) * group


def _tiles(bits: int, group: int, with_zeros: int, scale_kind: int) -> tuple[Any, Any]:
    """The tiles that `few_tokens_by` takes, on weights as they are packed."""
    scales_size = 16 * WEIGHT_BYTES[scale_kind]

    @numba.njit(inline="always")
    def fetching_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, following, part,
                      parts, tokens, blocks):  # fmt: skip
        groups = columns // group if group else 1
        scales = w + columns * 2 * bits
        integer_tile(w, block_stride, scales, scales + groups * scales_size, block_stride, x, x + columns, x_stride,
                     start, start_stride, out, out_stride, columns, following, part, parts, tokens, blocks, bits, 0,
                     group, with_zeros, scale_kind)  # fmt: skip

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks):
        fetching_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, 0, 0, 1, tokens,
                      blocks)  # fmt: skip

    return tile, fetching_tile


def _many_tokens_by(bits: int, group: int, with_zeros: int, scale_kind: int) -> Any:
    """As `tiled`, for multiples of the tile's rows and blocks, and with a worker's scratch, where the halves of bytes
    are laid apart once for all rows, a slab of columns at a time. Weights of 8 bits stay where they are."""
    tier = current_tier()
    tokens, blocks = _many_tokens(bits), tier.dot_blocks
    apart = 1 if bits == 4 else 0
    slab_columns = _slab_columns(group) if apart else sys.maxsize
    scales_size = 16 * WEIGHT_BYTES[scale_kind]

    @numba.njit
    def many(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns, scratch):
        slab = min(slab_columns, columns)
        groups = columns // group if group else 1
        if rows == 0:
            return
        for begin in range(0, columns, slab):
            size, number = min(slab, columns - begin), begin // group if group else 0
            records = x + columns + RECORD_BYTES * number
            for block in range(0, num_blocks, blocks):
                packed = w + block * block_stride
                scales = packed + columns * 2 * bits + number * scales_size
                zeros = packed + columns * 2 * bits + groups * scales_size + number * 16
                weights, stride = packed + begin * 2 * bits, block_stride
                if apart:
                    weights, stride = scratch, slab * _APART_BYTES
                    for each in range(blocks):
                        source, target = packed + each * block_stride + begin * 2 * bits, scratch + each * stride
                        for at in range(0, size * 2 * bits, 64):
                            lay_apart(source + at, target + 2 * at)
                for row in range(0, rows, tokens):
                    place = out + row * out_stride + 64 * block
                    before, before_stride = start + row * start_stride + 64 * block, start_stride
                    if begin > 0:
                        before, before_stride = place, out_stride
                    integer_tile(weights, stride, scales, zeros, block_stride, x + row * x_stride + begin,
                                 records + row * x_stride, x_stride, before, before_stride, place, out_stride, size, 0,
                                 0, 1, tokens, blocks, bits, apart, group, with_zeros, scale_kind)  # fmt: skip

    return many

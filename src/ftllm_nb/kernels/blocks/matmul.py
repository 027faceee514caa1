"""Matrix products with weights of block types, of any size: the kernels of `Linear`."""

from __future__ import annotations

import functools
from typing import Any

import numba

from ftllm_nb.kernels.activation_rows import record_bytes
from ftllm_nb.kernels.blocks.amx_matmul import RANGE_TOKENS as AMX_RANGE_TOKENS
from ftllm_nb.kernels.blocks.amx_matmul import amx_multiply_by, amx_scratch_bytes
from ftllm_nb.kernels.blocks.block_type import PART_COLUMNS, BlockType
from ftllm_nb.kernels.blocks.scratch import ScratchLayout, unpacker
from ftllm_nb.kernels.blocks.tile import FETCHES, fetching_tile, packed_tile, unpacked_tile
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.experts import expert_linear_by
from ftllm_nb.kernels.fetching import fetches_units_far
from ftllm_nb.kernels.loop_choice import loop_choice
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import PANEL_BLOCKS, RANGE_TOKENS, linear_by

_SLAB_BYTES = 16384
"""Of unpacked weights: they stay in the first cache while all tokens of a chunk are multiplied by them."""
TALL_TILE = (8, 1, 49152)
"""Tokens and blocks of a tall tile, and bytes of its slab: see loop_choice.py."""

_FEW_ROWS, _FEW_ROWS_OF_TALL = 8, 32
"""Up to so many rows, unpacking takes longer than it spares: the tiles of few tokens are tall."""


@functools.cache
def block_linear_kernel(name: str) -> Kernel:
    """out = x · wᵀ + bias on packed weights of a block type and quantized activations."""
    type = block_types()[name]
    return linear_by(_multiply_by(type), name, AMX_RANGE_TOKENS if _on_amx(type) else RANGE_TOKENS)


@functools.cache
def block_expert_kernel(name: str) -> Kernel:
    """The same of each slot and its expert's weights; see experts.py."""
    return expert_linear_by(_multiply_by(block_types()[name]), name)


def block_scratch_bytes(name: str) -> int:
    """Private memory that a worker needs for that."""
    type = block_types()[name]
    if _on_amx(type):
        return amx_scratch_bytes(type)
    _, blocks, slab_bytes = _tile_of(type)
    return max(slab_bytes, blocks * ScratchLayout(type).size)


def _on_amx(type: BlockType) -> bool:
    """Whether several tokens take tiles of AMX."""
    return current_tier().multiplies_matrices and type.is_super


def wide_tile() -> tuple[int, int, int]:
    """As TALL_TILE, of the tier's usual tile."""
    return current_tier().dot_tokens, current_tier().dot_blocks, _SLAB_BYTES


def tall_is_possible() -> bool:
    """Whether a tall tile's sums fit the registers, and many tokens take vectors."""
    return current_tier().most_dot_tokens >= TALL_TILE[0] and not current_tier().multiplies_matrices


def _tile_of(type: BlockType) -> tuple[int, int, int]:
    """The tile of many tokens."""
    return TALL_TILE if type.is_super and loop_choice().tall else wide_tile()


def panel_blocks(type: BlockType) -> int:
    """Blocks that a single token reads side by side: memory likes four, but a loop must not be too long."""
    if fetches_units_far(type.is_super):
        return 1
    return PANEL_BLOCKS if type.chunk_parts <= 2 else 2


def _fetching(type: BlockType, tokens: int, blocks: int) -> Any:
    """A tile as `fetching_tile` makes it, which fetches nothing where that was not seen to be faster: single blocks are
    followed by hardware."""
    if type.is_super and loop_choice().rows:
        return fetching_tile(type, tokens, blocks)
    tile = unpacked_tile(type, tokens, blocks)

    @numba.njit(inline="always")
    def without(w, stride, x, records, x_stride, start, start_stride, out, out_stride, units, following, step):
        tile(w, stride, x, records, x_stride, start, start_stride, out, out_stride, units)

    return without


def _multiply_by(type: BlockType) -> Any:
    """As `linear_by` takes it. Few tokens read weights as they are packed."""
    few, many = _few_by(type), amx_multiply_by(type) if _on_amx(type) else _many_by(type)
    few_rows = _FEW_ROWS_OF_TALL if loop_choice().tall else _FEW_ROWS

    @numba.njit
    def multiply(
        w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns, scratch
    ):
        if rows <= few_rows:
            few(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns)
        else:
            many(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns, scratch)

    return multiply


def _few_by(type: BlockType) -> Any:
    """The same of few tokens, without scratch. Weights are unpacked once for the tokens of a tile."""
    side_by_side, unit_columns = panel_blocks(type), type.columns
    pairs = _pairs_by(type, tuple(tokens for tokens in (8, 4, 2) if tokens <= current_tier().most_dot_tokens))
    single = packed_tile(type, 1, 1)
    panel = single if side_by_side == 1 else packed_tile(type, 1, side_by_side)

    @numba.njit
    def few(w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns):
        units, records, last = columns // unit_columns, x + columns, rows - 1
        for block in range(num_blocks):
            pairs(w + block * block_stride, block_stride, x, records, x_stride, rows, start + 64 * block, start_stride,
                  out + 64 * block, out_stride, units)  # fmt: skip
        if rows % 2 == 0:
            return
        values, those, begin, place = (
            x + last * x_stride, records + last * x_stride, start + last * start_stride, out + last * out_stride
        )  # fmt: skip
        block = 0
        while num_blocks - block >= side_by_side:
            panel(w + block * block_stride, block_stride, values, those, x_stride, begin + 64 * block, start_stride,
                  place + 64 * block, out_stride, units)  # fmt: skip
            block += side_by_side
        while block < num_blocks:
            single(w + block * block_stride, block_stride, values, those, x_stride, begin + 64 * block, start_stride,
                   place + 64 * block, out_stride, units)  # fmt: skip
            block += 1

    return few


def _pairs_by(type: BlockType, heights: tuple[int, ...]) -> Any:
    """One block × all rows but an odd one, by tiles of so many tokens, the tallest first and the last of 2."""
    tokens, tile = heights[0], packed_tile(type, heights[0], 1)
    others = _pairs_by(type, heights[1:]) if len(heights) > 1 else _nothing

    @numba.njit
    def pairs(w, block_stride, x, records, x_stride, rows, start, start_stride, out, out_stride, units):
        row = 0
        while rows - row >= tokens:
            tile(w, block_stride, x + row * x_stride, records + row * x_stride, x_stride, start + row * start_stride,
                 start_stride, out + row * out_stride, out_stride, units)  # fmt: skip
            row += tokens
        others(w, block_stride, x + row * x_stride, records + row * x_stride, x_stride, rows - row,
               start + row * start_stride, start_stride, out + row * out_stride, out_stride, units)  # fmt: skip

    return pairs


@numba.njit
def _nothing(w, block_stride, x, records, x_stride, rows, start, start_stride, out, out_stride, units):
    """What is left when there are no pairs."""


def _many_by(type: BlockType) -> Any:
    """The same of many tokens: a slab of columns is unpacked for some blocks at a time."""
    tokens, blocks, slab_bytes = _tile_of(type)
    unpack = unpacker(type)
    tall = _fetching(type, tokens, blocks)
    shapes = ((min(4, tokens), blocks), (2, blocks), (1, blocks), (1, 1))
    middle, pair, one, only = (unpacked_tile(type, *shape) for shape in shapes)
    unit_columns, unit_bytes, size = type.columns, type.unit_bytes, ScratchLayout(type).size
    slab, record = max(1, slab_bytes // (blocks * size)), record_bytes(type.middle)

    @numba.njit
    def tokens_by_slab(w, stride, x, records, x_stride, rows, start, start_stride, out, out_stride, units, following):
        """All rows × `blocks` blocks of unpacked units, which fetch the packed ones of a block that follow."""
        lines = max(1, rows // tokens) * units * (unit_columns // PART_COLUMNS) * FETCHES
        row, step = 0, (units * unit_bytes + lines - 1) // lines
        while row < rows:
            values, into = x + row * x_stride, out + row * out_stride
            these, before = records + row * x_stride, start + row * start_stride
            if rows - row >= tokens:
                tall(w, stride, values, these, x_stride, before, start_stride, into, out_stride, units, following, step)
                following += units * (unit_columns // PART_COLUMNS) * FETCHES * step
                row += tokens
            elif tokens > 4 and rows - row >= 4:
                middle(w, stride, values, these, x_stride, before, start_stride, into, out_stride, units)
                row += 4
            elif rows - row >= 2:
                pair(w, stride, values, these, x_stride, before, start_stride, into, out_stride, units)
                row += 2
            else:
                one(w, stride, values, these, x_stride, before, start_stride, into, out_stride, units)
                row += 1

    @numba.njit
    def multiply(
        w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns, scratch
    ):
        units, stride = columns // unit_columns, slab * size
        for first in range(0, units, slab):
            count = min(slab, units - first)
            values, records = x + first * unit_columns, x + columns + first * record
            for block in range(0, num_blocks, blocks):
                here = min(blocks, num_blocks - block)
                for each in range(here):
                    packed = w + (block + each) * block_stride + first * unit_bytes
                    for unit in range(count):
                        unpack(packed + unit * unit_bytes, scratch + each * stride + unit * size)
                into = out + 64 * block
                before, before_stride = start + 64 * block, start_stride
                if first > 0:
                    before, before_stride = into, out_stride
                following = packed + block_stride
                if block + here == num_blocks:
                    following = w + (first + count) * unit_bytes
                if here == blocks:
                    tokens_by_slab(scratch, stride, values, records, x_stride, rows, before, before_stride, into,
                                   out_stride, count, following)  # fmt: skip
                else:
                    for row in range(rows):
                        for each in range(here):
                            only(scratch + each * stride, stride, values + row * x_stride, records + row * x_stride,
                                 x_stride, before + row * before_stride + 64 * each, before_stride,
                                 into + row * out_stride + 64 * each, out_stride, count)  # fmt: skip

    return multiply

"""Matrix products with weights of super-blocks where the CPU has AMX, of more than a few tokens: see amx_unit.py."""

from __future__ import annotations

from typing import Any

import numba

from ftllm_nb.kernels.activation_rows import SUMS_RECORD_BYTES
from ftllm_nb.kernels.amx_registers import release
from ftllm_nb.kernels.amx_tile import STEP_COLUMNS, TOKENS, configure
from ftllm_nb.kernels.blocks.amx_unit import (
    PRODUCTS_END,
    TOTALS_BYTES,
    PlanesLayout,
    planes_unpacker,
    unit_products,
)
from ftllm_nb.kernels.blocks.block_type import BlockType
from ftllm_nb.kernels.simd import load_vector, store_vector
from ftllm_nb.kernels.tiling import PANEL_BLOCKS

RANGE_TOKENS = 128
"""Most tokens of a chunk: they share the unpacking of weights."""
_MOST_TILES = RANGE_TOKENS // TOKENS
_TOTALS = PRODUCTS_END
_PLANES = _TOTALS + PANEL_BLOCKS * _MOST_TILES * TOTALS_BYTES
"""Offsets into a worker's scratch."""


def amx_scratch_bytes(type: BlockType) -> int:
    """Private memory that a worker needs."""
    return _PLANES + PlanesLayout(type).size


def amx_multiply_by(type: BlockType) -> Any:
    """As `linear_by` takes it: up to RANGE_TOKENS rows, and PANEL_BLOCKS blocks. Unit by unit, each block's weights are
    unpacked and meet all tokens; totals lie in the scratch meanwhile. The last tile of 16 tokens begins where it ends
    with the last one: what it shares with the tile before is computed twice."""
    unpack, products = planes_unpacker(type), unit_products(type)
    unit_columns, unit_bytes = type.columns, type.unit_bytes

    @numba.njit
    def multiply(
        w, block_stride, num_blocks, x, x_stride, rows, start, start_stride, out, out_stride, columns, scratch
    ):
        tiles, last = (rows + TOKENS - 1) // TOKENS, max(0, rows - TOKENS)
        totals, planes = scratch + _TOTALS, scratch + _PLANES
        block_totals = tiles * TOTALS_BYTES
        configure(scratch, STEP_COLUMNS, STEP_COLUMNS, min(rows, TOKENS))
        for block in range(num_blocks):
            for tile in range(tiles):
                first, place = min(TOKENS * tile, last), totals + block * block_totals + tile * TOTALS_BYTES
                for each in range(TOKENS):
                    token = min(first + each, rows - 1)
                    store_vector(place + 64 * each, load_vector(start + token * start_stride + 64 * block))
        for unit in range(columns // unit_columns):
            values, records = x + unit * unit_columns, x + columns + unit * SUMS_RECORD_BYTES
            for block in range(num_blocks):
                unpack(w + block * block_stride + unit * unit_bytes, planes)
                products(planes, values, records, x_stride, rows, totals + block * block_totals, scratch)
        for block in range(num_blocks):
            for tile in range(tiles):
                first, place = min(TOKENS * tile, last), totals + block * block_totals + tile * TOTALS_BYTES
                for each in range(min(TOKENS, rows - first)):
                    store_vector(out + (first + each) * out_stride + 64 * block, load_vector(place + 64 * each))
        release()

    return multiply

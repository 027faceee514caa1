"""Rows of packed matrices of block types by token id, as float32: what their blocks stand for, to the last bit."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.blocks.block_type import QUAD, BlockType
from ftllm_nb.kernels.blocks.parts import WORD_BYTES
from ftllm_nb.kernels.blocks.scratch import ScratchLayout, unpacker
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.dot import has_pairs
from ftllm_nb.kernels.embedding import (
    EMBEDDING_BLOCK_STRIDE,
    EMBEDDING_FEATURES,
    EMBEDDING_IDS,
    EMBEDDING_OUTPUT,
    EMBEDDING_OUTPUT_STRIDE,
    EMBEDDING_WEIGHT,
    row_number,
)
from ftllm_nb.kernels.memory import load_byte, load_f32, load_i16, store_f32
from ftllm_nb.kernels.stack import room
from ftllm_nb.kernels.step import STEP_TOKENS, argument, field, take_chunk


def _row_of(type: BlockType) -> Any:
    """A function `write(scratch, lane, target)`: the numbers of one row of an unpacked unit."""
    layout = ScratchLayout(type)
    each, minimums, factor_at, second_at = layout.each, layout.minimums, layout.factor, layout.second_factor
    columns, group, has_scales, has_minimums = type.columns, type.group, type.is_super, type.has_minimums
    center = 128 if type.is_signed and not has_pairs() else type.center
    is_signed = type.is_signed and has_pairs()

    @numba.njit
    def write(scratch, lane, target):
        factor, second = load_f32(scratch + factor_at + 4 * lane), np.float32(0.0)
        if has_minimums:
            second = load_f32(scratch + second_at + 4 * lane)
        for column in range(columns):
            number = load_byte(scratch + column // QUAD * WORD_BYTES + lane * QUAD + column % QUAD)
            if is_signed and number >= 128:
                number -= 256
            value, scale = np.float32(number - center), factor
            if has_scales:
                at = column // group
                scale = factor * np.float32(load_i16(scratch + each + WORD_BYTES * at + 4 * lane))
            value = value * scale
            if has_minimums and has_scales:
                place = scratch + minimums + WORD_BYTES * (column // group // 2) + 4 * lane + column // group % 2 * 2
                value -= second * np.float32(load_i16(place))
            elif has_minimums:
                value += second
            store_f32(target + 4 * column, value)

    return write


@functools.cache
def block_embedding_kernel(name: str) -> Kernel:
    """out[t] = the matrix's row that the t-th id names. A chunk is a token."""
    type = block_types()[name]
    unit_columns, unit_bytes = type.columns, type.unit_bytes
    memory, unpack, write = room(ScratchLayout(type).size), unpacker(type), _row_of(type)

    @kernel(variant=name)
    def block_embedding(row, step, worker):
        ids, scratch = field(step, argument(row, EMBEDDING_IDS)), memory()
        units = argument(row, EMBEDDING_FEATURES) // unit_columns
        num_tokens = field(step, STEP_TOKENS)
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            token_id = row_number(row, ids, token)
            block = argument(row, EMBEDDING_WEIGHT) + token_id // 16 * argument(row, EMBEDDING_BLOCK_STRIDE)
            target = argument(row, EMBEDDING_OUTPUT) + token * argument(row, EMBEDDING_OUTPUT_STRIDE)
            for unit in range(units):
                unpack(block + unit * unit_bytes, scratch)
                write(scratch, token_id % 16, target + 4 * unit * unit_columns)
            token = take_chunk(worker, num_tokens)

    return block_embedding

"""From a checkpoint's rows of codes to blocks of 16 rows, and rows of those by token id: nothing is rounded."""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.checkpoint.codes import CODES
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.embedding import (
    EMBEDDING_BLOCK_STRIDE,
    EMBEDDING_FEATURES,
    EMBEDDING_IDS,
    EMBEDDING_OUTPUT,
    EMBEDDING_OUTPUT_STRIDE,
    EMBEDDING_WEIGHT,
    row_number,
)
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES, load_weight
from ftllm_nb.kernels.memory import copy_bytes, load_byte, store_byte, store_f32, store_i64
from ftllm_nb.kernels.pack import PACK_COLUMNS, PACK_FAULT, PACK_ROWS, PACK_SOURCE, PACK_TARGET
from ftllm_nb.kernels.repack_integers import BAD_SCALE
from ftllm_nb.kernels.scaled.decode import NAMES
from ftllm_nb.kernels.scaled.matmul import Layout
from ftllm_nb.kernels.step import STEP_TOKENS, argument, field, take_chunk

SCALED_SCALES, SCALED_OFFSETS = range(PACK_FAULT + 1, PACK_FAULT + 3)
"""Arguments of a row after those of kernels/pack.py: the addresses of scales and of offsets, [rows, groups]."""
BAD_CODE = 3
"""What the fault word says besides: a code stands for no finite number."""
_LARGEST = np.float32(np.finfo(np.float32).max)


@functools.cache
def pack_scaled_kernel(layout: Layout) -> Kernel:
    """Lay codes, scales and offsets into zeroed blocks. A chunk is a block."""
    code, group, scale_kind, has_offsets = layout
    bits, values = CODES[NAMES[code]]
    is_bad = ~np.isfinite(values)
    checks, scale_bytes = bool(is_bad.any()), WEIGHT_BYTES[scale_kind]

    @kernel(variant="_".join(map(str, layout)))
    def pack_scaled(row, step, worker):
        rows, columns = argument(row, PACK_ROWS), argument(row, PACK_COLUMNS)
        groups = 1 if group == 0 else (columns + group - 1) // group
        row_bytes = columns * bits // 8
        block_bytes = 16 * (row_bytes + groups * scale_bytes * (1 + has_offsets))
        num_blocks = (rows + 15) // 16
        block = take_chunk(worker, num_blocks)
        while block >= 0:
            target = argument(row, PACK_TARGET) + block * block_bytes
            for lane in range(min(16, rows - block * 16)):
                number = block * 16 + lane
                source = argument(row, PACK_SOURCE) + number * row_bytes
                for at in range(row_bytes):
                    found = load_byte(source + at)
                    if checks and is_bad[found & 255]:
                        store_i64(argument(row, PACK_FAULT), BAD_CODE)
                    store_byte(target + at * 16 + lane, found)
                place = target + 16 * row_bytes + lane * scale_bytes
                for part in range(1 + has_offsets):
                    numbers = argument(row, SCALED_OFFSETS if part else SCALED_SCALES) + number * groups * scale_bytes
                    for at in range(groups):
                        copy_bytes(place, numbers + at * scale_bytes, scale_bytes)
                        if not abs(load_weight(place, scale_kind)) <= _LARGEST:
                            store_i64(argument(row, PACK_FAULT), BAD_SCALE)
                        place += 16 * scale_bytes
            block = take_chunk(worker, num_blocks)

    return pack_scaled


@numba.njit
def _code(block, lane, column, bits):
    """The code at a row (of a block) and column."""
    if bits == 8:
        return load_byte(block + column * 16 + lane) & 255
    both = load_byte(block + column // 2 * 16 + lane) & 255
    return both >> 4 if column & 1 else both & 15


@functools.cache
def scaled_embedding_kernel(layout: Layout) -> Kernel:
    """out[t] = the matrix's row that the t-th id names, as float32. A chunk is a token."""
    code, group, scale_kind, has_offsets = layout
    bits, values = CODES[NAMES[code]]
    scale_bytes = WEIGHT_BYTES[scale_kind]

    @kernel(variant="_".join(map(str, layout)))
    def scaled_embedding(row, step, worker):
        features, ids = argument(row, EMBEDDING_FEATURES), field(step, argument(row, EMBEDDING_IDS))
        groups = 1 if group == 0 else (features + group - 1) // group
        width = features if group == 0 else group
        num_tokens = field(step, STEP_TOKENS)
        token = take_chunk(worker, num_tokens)
        while token >= 0:
            number = row_number(row, ids, token)
            block = argument(row, EMBEDDING_WEIGHT) + number // 16 * argument(row, EMBEDDING_BLOCK_STRIDE)
            lane = number % 16
            scales = block + 2 * bits * features + lane * scale_bytes
            target = argument(row, EMBEDDING_OUTPUT) + token * argument(row, EMBEDDING_OUTPUT_STRIDE)
            for column in range(features):
                place = scales + column // width * 16 * scale_bytes
                value = values[_code(block, lane, column, bits)] * load_weight(place, scale_kind)
                if has_offsets:
                    value += load_weight(place + groups * 16 * scale_bytes, scale_kind)
                store_f32(target + 4 * column, value)
            token = take_chunk(worker, num_tokens)

    return scaled_embedding

"""From ggml's rows of Q4_0 and Q8_0 to blocks of 16 rows of 4-bit or 8-bit weights: nothing is rounded.

A row of such a type is its groups of 32 columns, each a float16 scale and then its numbers: 32 signed bytes, or 16
bytes of which the lower halves are the first 16 columns. integer_tile.py says how a block lies.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import FLOAT16, load_weight
from ftllm_nb.kernels.memory import copy_bytes, load_word, store_i32, store_i64
from ftllm_nb.kernels.pack import PACK_COLUMNS, PACK_FAULT, PACK_ROWS, PACK_SOURCE, PACK_TARGET
from ftllm_nb.kernels.repack_integers import BAD_SCALE
from ftllm_nb.kernels.step import argument, take_chunk

BITS = {"Q4_0": 4, "Q8_0": 8}
"""The types by ggml's names."""

_GROUP = 32
_SCALE_BYTES = 2
_LARGEST = np.float32(np.finfo(np.float32).max)
_LOW, _HIGH = 0x0F0F0F0F, 0xF0F0F0F0


@numba.njit
def _move_halves(source, target):
    """The 16 bytes of a group of 4 bits: eight neighbouring columns are a word, the first four in its lower halves."""
    for word in range(2):
        first, second = load_word(source + 8 * word), load_word(source + 8 * word + 4)
        store_i32(target + 64 * word, (first & _LOW) | ((second & _LOW) << 4))
        store_i32(target + 64 * (word + 2), ((first & _HIGH) >> 4) | (second & _HIGH))


@numba.njit
def _move_bytes(source, target):
    """The 32 signed bytes of a group."""
    for word in range(8):
        store_i32(target + 64 * word, load_word(source + 4 * word) ^ 0x80808080)


@functools.cache
def repack_interleaved_kernel(name: str) -> Kernel:
    """Lay a matrix [rows, groups] of this type into zeroed blocks. A chunk is a block of 16 rows.

    The fault word is set to `BAD_SCALE` where a scale is no finite number.
    """
    bits = BITS[name]
    move = {4: _move_halves, 8: _move_bytes}[bits]
    number_bytes = _GROUP * bits // 8
    group_bytes = _SCALE_BYTES + number_bytes

    @kernel(variant=name)
    def repack_interleaved(row, step, worker):
        rows, groups = argument(row, PACK_ROWS), argument(row, PACK_COLUMNS) // _GROUP
        block_bytes = groups * 16 * group_bytes
        num_blocks = (rows + 15) // 16
        block = take_chunk(worker, num_blocks)
        while block >= 0:
            target = argument(row, PACK_TARGET) + block * block_bytes
            scales = target + groups * 16 * number_bytes
            for lane in range(min(16, rows - block * 16)):
                source = argument(row, PACK_SOURCE) + (block * 16 + lane) * groups * group_bytes
                for group in range(groups):
                    if not abs(load_weight(source, FLOAT16)) <= _LARGEST:
                        store_i64(argument(row, PACK_FAULT), BAD_SCALE)
                    copy_bytes(scales + (group * 16 + lane) * _SCALE_BYTES, source, _SCALE_BYTES)
                    move(source + _SCALE_BYTES, target + group * 16 * number_bytes + 4 * lane)
                    source += group_bytes
            block = take_chunk(worker, num_blocks)

    return repack_interleaved

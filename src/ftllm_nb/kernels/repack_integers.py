"""From a checkpoint's whole numbers to blocks of 16 rows of 4-bit or 8-bit weights: nothing is rounded.

integer_tile.py says how a block lies; checkpoint/compressed_tensors says how the numbers lie before.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES, load_weight
from ftllm_nb.kernels.memory import copy_bytes, load_byte, load_word, store_byte, store_i32, store_i64
from ftllm_nb.kernels.pack import PACK_COLUMNS, PACK_FAULT, PACK_ROWS, PACK_SOURCE, PACK_TARGET
from ftllm_nb.kernels.step import argument, take_chunk

REPACK_SCALES, REPACK_ZEROS, REPACK_BYTES = range(PACK_FAULT + 1, PACK_FAULT + 4)
"""Arguments of a row after those of kernels/pack.py: the addresses of scales and of zero points (unsigned bytes, half
the range added), both [rows, groups]; whether the source holds signed bytes [rows, columns] or packed words."""

BAD_SCALE, BAD_NUMBER = 1, 2
"""What the fault word says: a scale is no finite number, or a byte does not fit 4 bits."""

_LARGEST = np.float32(np.finfo(np.float32).max)


@numba.njit
def _bytes_of_nibbles(word):
    """Four bytes, of the eight numbers of 4 bits in a word: 0 to 3 in the lower halves, 4 to 7 in the upper ones."""
    low, high = word & 0xFFFF, (word >> 16) & 0xFFFF
    low, high = (low | (low << 8)) & 0x00FF00FF, (high | (high << 8)) & 0x00FF00FF
    low, high = (low | (low << 4)) & 0x0F0F0F0F, (high | (high << 4)) & 0x0F0F0F0F
    return low | (high << 4)


@numba.njit
def _repack_words(source, row_bytes, present, bits, target):
    """Packed words; a row of words fills whole quads of the block."""
    for word in range(row_bytes // 4):
        for lane in range(present):
            packed = load_word(source + lane * row_bytes + 4 * word)
            if bits == 4:
                packed = _bytes_of_nibbles(packed)
            store_i32(target + 64 * word + 4 * lane, packed)


@numba.njit
def _repack_bytes(source, columns, present, target):
    """Signed bytes of 8 bits. Words are read while they lie within a row."""
    whole = columns // 4
    for quad in range(whole):
        for lane in range(present):
            store_i32(target + 64 * quad + 4 * lane, load_word(source + lane * columns + 4 * quad) ^ 0x80808080)
    for lane in range(present):
        for column in range(4 * whole, columns):
            number = load_byte(source + lane * columns + column) ^ 0x80
            store_byte(target + 64 * whole + 4 * lane + column % 4, number)


@numba.njit
def _repack_small_bytes(source, columns, present, target):
    """Signed bytes that hold 4 bits; whether all do."""
    fit = True
    for lane in range(present):
        for column in range(columns):
            number = load_byte(source + lane * columns + column) ^ 0x80
            fit = fit and 120 <= number < 136
            place = target + column // 8 * 64 + lane * 4 + column % 4
            store_byte(place, load_byte(place) | ((number - 120) & 15) << (column & 4))
    return fit


@functools.cache
def repack_integers_kernel(bits: int, group: int, with_zeros: int, scale_kind: int) -> Kernel:
    """Lay whole numbers, scales and zero points into zeroed blocks. `group` 0 is a whole row. A chunk is a block.

    The fault word is set to what is wrong, see `BAD_SCALE` and `BAD_NUMBER`.
    """
    scale_bytes, multiple = WEIGHT_BYTES[scale_kind], group or 32

    @kernel(variant=f"{bits}_{group}_{with_zeros}_{scale_kind}")
    def repack_integers(row, step, worker):
        rows, columns = argument(row, PACK_ROWS), argument(row, PACK_COLUMNS)
        padded = (columns + multiple - 1) // multiple * multiple
        groups = 1 if group == 0 else padded // group
        block_bytes = padded * 2 * bits + groups * 16 * (scale_bytes + with_zeros)
        is_bytes = argument(row, REPACK_BYTES)
        row_bytes = columns if is_bytes else (columns * bits + 31) // 32 * 4
        num_blocks = (rows + 15) // 16
        block = take_chunk(worker, num_blocks)
        while block >= 0:
            source = argument(row, PACK_SOURCE) + block * 16 * row_bytes
            target = argument(row, PACK_TARGET) + block * block_bytes
            present = min(16, rows - block * 16)
            if not is_bytes:
                _repack_words(source, row_bytes, present, bits, target)
            elif bits == 8:
                _repack_bytes(source, columns, present, target)
            elif not _repack_small_bytes(source, columns, present, target):
                store_i64(argument(row, PACK_FAULT), BAD_NUMBER)
            scales = target + padded * 2 * bits
            zeros = scales + groups * 16 * scale_bytes
            for lane in range(present):
                for number in range(groups):
                    at, place = (block * 16 + lane) * groups + number, number * 16 + lane
                    scale_at = argument(row, REPACK_SCALES) + at * scale_bytes
                    copy_bytes(scales + place * scale_bytes, scale_at, scale_bytes)
                    if not abs(load_weight(scale_at, scale_kind)) <= _LARGEST:
                        store_i64(argument(row, PACK_FAULT), BAD_SCALE)
                    if with_zeros:
                        store_byte(zeros + place, load_byte(argument(row, REPACK_ZEROS) + at))
            block = take_chunk(worker, num_blocks)

    return repack_integers

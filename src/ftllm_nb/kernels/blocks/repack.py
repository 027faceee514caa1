"""From a file's rows of blocks to units of 16 rows: words are moved, nothing else."""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

from ftllm_nb.kernels.blocks.block_type import BlockType, Plane
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel, kernel
from ftllm_nb.kernels.matmul_tile import FLOAT16, FLOAT32, load_weight
from ftllm_nb.kernels.memory import load_byte, load_i16, load_word, store_byte, store_i16, store_i32, store_i64
from ftllm_nb.kernels.pack import PACK_COLUMNS, PACK_FAULT, PACK_ROWS, PACK_SOURCE, PACK_TARGET
from ftllm_nb.kernels.repack_integers import BAD_SCALE
from ftllm_nb.kernels.step import argument, take_chunk

_LARGEST = np.float32(np.finfo(np.float32).max)


@numba.njit
def _quads_of_bits(word):
    """32 bits, bit 4q + b moved to bit 8b + q."""
    moved = 0
    for quad in range(8):
        for byte in range(4):
            moved |= ((word >> (4 * quad + byte)) & 1) << (8 * byte + quad)
    return moved


def _mover(plane: Plane, at: int) -> Any:
    """A function that lays a row's words of one plane into its unit, or zeros where the row is missing."""
    offset, size, words, transposes = plane

    @numba.njit
    def move(block, unit, lane, is_there):
        target = unit + at + lane * size
        for number in range(words):
            source = block + offset + number * size
            word = 0
            if is_there:
                if size == 4:
                    word = load_word(source)
                    if transposes:
                        word = _quads_of_bits(word)
                elif size == 2:
                    word = load_i16(source)
                else:
                    word = load_byte(source)
            if size == 4:
                store_i32(target, word)
            elif size == 2:
                store_i16(target, word)
            else:
                store_byte(target, word)
            target += 16 * size

    return move


def _all_planes(type: BlockType) -> Any:
    """The movers of all planes, one after the other."""
    moved: Any = None
    for number, plane in enumerate(type.planes):
        moved = _after(moved, _mover(plane, type.at(number)))
    return moved


def _after(first: Any, second: Any) -> Any:
    if first is None:
        return second

    @numba.njit
    def both(block, unit, lane, is_there):
        first(block, unit, lane, is_there)
        second(block, unit, lane, is_there)

    return both


def _are_finite(places: tuple[int, ...], kind: int) -> Any:
    """A function that says whether the floats at these places of a block are finite."""
    count, places = len(places), places or (0,)

    @numba.njit
    def are_finite(block):
        for number in range(count):
            if not abs(load_weight(block + places[number], kind)) <= _LARGEST:
                return False
        return True

    return are_finite


@functools.cache
def repack_blocks_kernel(name: str) -> Kernel:
    """Lay a matrix's blocks, [rows, blocks], into units; rows of padding are zeros. A chunk is a block of 16 rows.

    The fault word is set where a float is no finite number.
    """
    type = block_types()[name]
    move, block_bytes, unit_bytes, block_columns = _all_planes(type), type.block_bytes, type.unit_bytes, type.columns
    are_finite = _are_finite(type.float32_at or type.float16_at, FLOAT32 if type.float32_at else FLOAT16)

    @kernel(variant=name)
    def repack_blocks(row, step, worker):
        rows, units = argument(row, PACK_ROWS), argument(row, PACK_COLUMNS) // block_columns
        num_blocks = (rows + 15) // 16
        block = take_chunk(worker, num_blocks)
        while block >= 0:
            source = argument(row, PACK_SOURCE) + block * 16 * units * block_bytes
            target = argument(row, PACK_TARGET) + block * units * unit_bytes
            for unit in range(units):
                for lane in range(16):
                    place = source + (lane * units + unit) * block_bytes
                    is_there = block * 16 + lane < rows
                    move(place, target + unit * unit_bytes, lane, is_there)
                    if is_there and not are_finite(place):
                        store_i64(argument(row, PACK_FAULT), BAD_SCALE)
            block = take_chunk(worker, num_blocks)

    return repack_blocks

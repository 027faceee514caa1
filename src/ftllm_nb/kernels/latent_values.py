"""A block's values where a cache keeps keys alone, and a value is the first features of its key.

Keys lie with positions side by side, values with features side by side (cache_layout.py). So 16 positions of 16
features, which are one run of memory in both, have to change places.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
from llvmlite import ir
from numba.core import types

from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, key_columns, padded
from ftllm_nb.kernels.emit import I8, I16, I32, I64, LANES, emitted, load, store
from ftllm_nb.kernels.matmul_tile import INT8, WEIGHT_BYTES
from ftllm_nb.kernels.memory import load_byte, store_byte
from ftllm_nb.kernels.simd import load_vector, store_vector

_WORDS = {4: I32, 2: I16}
_QUAD = 4
"""Positions, or features, that lie side by side in an int8 block."""


@functools.cache
def lay_values(kind: int) -> Any:
    """A function that writes the first `value_dim` features of the keys of a kv head in a block of type `kind` as
    values, int8 ones with their scales behind them. What pads values may be anything."""
    element, turn = WEIGHT_BYTES[kind], _turn_bytes if kind == INT8 else _turn_close(WEIGHT_BYTES[kind])
    tile, scales = LANES * LANES * element, 4 * LANES if kind == INT8 else 0

    @numba.njit
    def lay(keys, key_dim, value_dim, target):
        group_bytes = key_columns(kind, key_dim) * LANES * element + scales
        for group in range(BLOCK_POSITIONS // LANES):
            source, place = keys + group * group_bytes, target + group * tile
            for _ in range(key_columns(kind, value_dim) // LANES):
                turn(source, place)
                source += tile
                place += BLOCK_POSITIONS * LANES * element
            if scales:
                found = load_vector(keys + (group + 1) * group_bytes - scales)
                store_vector(target + padded(value_dim) * BLOCK_POSITIONS + group * scales, found)
            else:
                for at in range(value_dim % LANES * LANES * element):
                    number, byte = at // element, at % element
                    turned = number % LANES * LANES + number // LANES
                    store_byte(place + turned * element + byte, load_byte(source + at))

    return lay


@functools.cache
def turn_by(size: int) -> Any:
    """A function that writes a matrix of 16 × 16 elements of `size` bytes transposed; rows lie strides apart."""
    row = ir.VectorType(_WORDS[size], LANES)

    @emitted(types.void, types.int64, types.int64, types.int64, types.int64)
    def turn(builder, source, source_stride, target, target_stride):
        def place(base: ir.Value, stride: ir.Value, at: int) -> ir.Value:
            return builder.add(base, builder.mul(stride, ir.Constant(I64, at)))

        rows = [load(builder, place(source, source_stride, at), row) for at in range(LANES)]
        for at, turned in enumerate(_transposed(builder, rows, 1)):
            store(builder, turned, place(target, target_stride, at))

    return turn


def _turn_close(size: int) -> Any:
    """The same of rows that lie end to end."""
    turn, stride = turn_by(size), LANES * size

    @numba.njit(inline="always")
    def turn_close(source, target):
        turn(source, stride, target, stride)

    return turn_close


@emitted(types.void, types.int64, types.int64)
def _turn_bytes(builder, source, target):
    """Write `[features/4][16 positions][4]` as `[positions/4][16 features][4]`, 16 of both, bytes."""
    row, size = ir.VectorType(I8, 4 * LANES), 4 * LANES
    # Within 16 bytes, 4 positions of 4 features.
    order = [16 * part + _QUAD * inner + outer for part in range(4) for outer in range(4) for inner in range(4)]
    rows = [_shuffled(builder, load(builder, _past(builder, source, size * at), row), None, order) for at in range(4)]
    for at, turned in enumerate(_transposed(builder, rows, 16)):
        store(builder, turned, _past(builder, target, size * at))


def _transposed(builder: ir.IRBuilder, rows: list[Any], width: int) -> list[Any]:
    """Rows of as many elements, of `width` lanes each, with rows and columns exchanged."""
    count = len(rows)
    lanes, step = count * width, count // 2
    while step:
        first = [at if at // width & step == 0 else lanes + at - step * width for at in range(lanes)]
        second = [at + step * width if at // width & step == 0 else lanes + at for at in range(lanes)]
        for at in range(count):
            if at & step == 0:
                a, b = rows[at], rows[at + step]
                rows[at], rows[at + step] = _shuffled(builder, a, b, first), _shuffled(builder, a, b, second)
        step //= 2
    return rows


def _shuffled(builder: ir.IRBuilder, a: Any, b: Any | None, order: list[int]) -> Any:
    lanes = ir.Constant(ir.VectorType(I32, len(order)), order)
    return builder.shuffle_vector(a, ir.Constant(a.type, ir.Undefined) if b is None else b, lanes)


def _past(builder: ir.IRBuilder, address: Any, offset: int) -> Any:
    return builder.add(address, ir.Constant(I64, offset))

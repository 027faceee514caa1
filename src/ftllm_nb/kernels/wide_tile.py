"""The tile of an int8 KV cache: some rows of 16-bit numbers × some blocks of 16 rows of bytes.

A block holds unsigned bytes `[columns/4][16][4]`, 128 standing for zero, and maybe a scale for each of its rows,
float32 `[16]`. What it is multiplied by, a query or the weights of values, is rounded to 16 bits and not to 8, so that
the cache's own rounding is the only one that counts. A *wide row* holds such numbers, 2 bytes a column, then their
scale (float32) and −128 times their sum (int32). Where a tier multiplies bytes, the upper bytes of all columns come
first, then the lower ones, both signed: dot = 256 · Σ upper · byte + Σ lower · byte. Elsewhere numbers are words, of
each four columns the first, the third, the second and the fourth, for products of pairs.

Dot products are exact in 32 bits, so that all tiers and tiles give equal bits.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ftllm_nb.kernels.activation_rows import LEAST_MAGNITUDE
from ftllm_nb.kernels.dot import V_BYTES, V_I32, emit_dot, emit_word_dots, multiplies_bytes, subtracted
from ftllm_nb.kernels.emit import (
    F32,
    I8,
    I16,
    I32,
    I64,
    LANES,
    LINE_BYTES,
    constant,
    emitted,
    function,
    literal,
    load,
    prefetch,
    splat,
    store,
    usable_in_kernels,
)
from ftllm_nb.kernels.memory import bits_float, store_f32, store_i32
from ftllm_nb.kernels.simd import (
    V_F32,
    int32x16,
    load_vector,
    magnitude_bits,
    max_lanes_int,
    maximum_int,
    round_even,
    spread,
    spread_int,
    sum_lanes_int,
    to_int,
)
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.kernels.tiling import PANEL_BLOCKS, grouped, tiled

LARGEST = 127 * 256 + 127
"""The largest magnitude in a wide row: its upper byte is at most 127."""
_LARGEST_DOT = 2**31 - 1
_UNROLLED = 4
"""Quads of columns in the body of the loop: columns are a multiple of 16."""


@usable_in_kernels
def wide_bytes(columns: int) -> int:
    """Bytes from one wide row to the next."""
    return 2 * columns + LINE_BYTES


@emitted(types.void, types.int64, types.int64, types.int64, int32x16)
def store_wide(builder, row, columns, at, numbers):
    """Write 16 numbers of at most LARGEST as columns `at` … `at` + 15 of a wide row."""
    if multiplies_bytes():
        upper = builder.ashr(builder.add(numbers, constant(I32, 128)), constant(I32, 8))
        place = builder.add(row, at)
        store(builder, builder.trunc(upper, ir.VectorType(I8, LANES)), place)
        store(builder, builder.trunc(numbers, ir.VectorType(I8, LANES)), builder.add(place, columns))
        return
    words = builder.trunc(numbers, ir.VectorType(I16, LANES))
    order = [first + step for first in range(0, LANES, 4) for step in (0, 2, 1, 3)]
    mask = ir.Constant(ir.VectorType(I32, LANES), order)
    ordered = builder.shuffle_vector(words, ir.Constant(words.type, ir.Undefined), mask)
    store(builder, ordered, builder.add(row, builder.mul(at, ir.Constant(I64, 2))))


@numba.njit(inline="always")
def wide_factor(largest, most):
    """What brings numbers of at most the magnitude `largest` to at most `most`; 0 where they are as good as zeros."""
    if largest < np.float32(LEAST_MAGNITUDE):
        return np.float32(0.0)
    return np.float32(most) / largest


@numba.njit(inline="always")
def finish_wide(row, columns, scale, total):
    """Write what follows the numbers of a wide row, of which `total` has the lanes' sums."""
    store_f32(row + 2 * columns, scale)
    store_i32(row + 2 * columns + 4, -128 * sum_lanes_int(total))


@numba.njit
def widen_row(source, row, columns):
    """Make a wide row of `columns` floats, a multiple of 16, so that its dot product with any bytes fits 32 bits."""
    most = min(LARGEST, _LARGEST_DOT // (128 * columns))
    bits = spread_int(np.int32(0))
    for at in range(0, columns, 16):
        bits = maximum_int(bits, magnitude_bits(load_vector(source + 4 * at)))
    largest = bits_float(max_lanes_int(bits))
    factor, total = spread(wide_factor(largest, most)), spread_int(np.int32(0))
    for at in range(0, columns, 16):
        numbers = to_int(round_even(load_vector(source + 4 * at) * factor))
        store_wide(row, columns, at, numbers)
        total = total + numbers
    finish_wide(row, columns, largest / np.float32(most), total)


@intrinsic(prefer_literal=True)
def wide_tile(
    typing_context, w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
    ahead, tokens, blocks, with_scales,
):  # fmt: skip
    """out[t, 16·b + l] = start[t, 16·b + l] + scales · dot of row t and row l of block b, t < tokens, b < blocks.

    Arguments as `matmul_tile`'s; `x`: wide rows of `columns`, a multiple of 16. `tokens`, `blocks` and `with_scales`
    (whether blocks end with a scale for each row) are constants.
    """
    num_tokens, num_blocks, has_scales = literal(tokens), literal(blocks), literal(with_scales)
    fetches = not isinstance(ahead, types.IntegerLiteral)
    signature = types.void(*([types.int64] * 9), types.int64 if fetches else ahead, tokens, blocks, with_scales)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, ahead = values[:10]
        multiply_add = function(builder, "llvm.fma.v16f32", V_F32, V_F32, V_F32, V_F32)
        cells = [(t, b) for t in range(num_tokens) for b in range(num_blocks)]
        weight_rows = [builder.add(w, _times(builder, block_stride, b)) for b in range(num_blocks)]
        token_rows = [builder.add(x, _times(builder, x_stride, t)) for t in range(num_tokens)]
        ends = [builder.add(row, _times(builder, columns, 2)) for row in token_rows]
        dots = {cell: cgutils.alloca_once(builder, V_I32) for cell in cells}
        for dot in dots.values():
            builder.store(constant(I32, 0), dot)

        def walk(multiply: Any, part: int = 0, parts: int = 1) -> None:
            """Call `multiply` with the offset of each vector of weights, fetching one part of what is needed next."""
            size = _times(builder, columns, LANES)
            step = ir.Constant(I64, _UNROLLED * LINE_BYTES)
            with cgutils.for_range_slice(builder, ir.Constant(I64, 0), size, step) as (offset, _count):
                if fetches:
                    # Line after line, whatever the blocks: hardware that fetches on by itself follows one row a page.
                    target = builder.add(builder.add(w, ahead), _times(builder, offset, num_blocks))
                    lines = num_blocks * _UNROLLED // parts
                    for line in range(part * lines, (part + 1) * lines):
                        prefetch(builder, builder.add(target, ir.Constant(I64, line * LINE_BYTES)))
                for number in range(_UNROLLED):
                    multiply(builder.add(offset, ir.Constant(I64, number * LINE_BYTES)))

        def bytes_at(offset: ir.Value) -> list[ir.Value]:
            return [load(builder, builder.add(row, offset), V_BYTES) for row in weight_rows]

        def multiply_bytes(offset: ir.Value, rows: list[ir.Value]) -> None:
            weights, column = bytes_at(offset), builder.udiv(offset, ir.Constant(I64, LANES))
            for t in range(num_tokens):
                four = splat(builder, load(builder, builder.add(rows[t], column), I32))
                for b in range(num_blocks):
                    total = emit_dot(builder, builder.load(dots[t, b]), weights[b], builder.bitcast(four, V_BYTES), 8)
                    builder.store(total, dots[t, b])

        def multiply_words(offset: ir.Value) -> None:
            weights, column = bytes_at(offset), builder.udiv(offset, ir.Constant(I64, LANES // 2))
            for t in range(num_tokens):
                place = builder.add(token_rows[t], column)
                pairs = [load(builder, builder.add(place, ir.Constant(I64, at)), I32) for at in (0, 4)]
                first, second = (splat(builder, pair) for pair in pairs)
                for b in range(num_blocks):
                    total = emit_word_dots(builder, builder.load(dots[t, b]), weights[b], first, second)
                    builder.store(total, dots[t, b])

        if multiplies_bytes():
            walk(lambda offset: multiply_bytes(offset, token_rows), 0, 2)
            for t, b in cells:
                shifted = builder.shl(builder.load(dots[t, b]), constant(I32, 8))
                if not subtracted(8):
                    less = load(builder, builder.add(ends[t], ir.Constant(I64, 4)), I32, 4)
                    shifted = builder.add(shifted, splat(builder, less))
                builder.store(shifted, dots[t, b])
            lower = [builder.add(row, columns) for row in token_rows]
            walk(lambda offset: multiply_bytes(offset, lower), 1, 2)
        else:
            walk(multiply_words)
        scales = [
            load(builder, builder.add(row, _times(builder, columns, LANES)), V_F32, 4) if has_scales else None
            for row in weight_rows
        ]
        for t, b in cells:
            factor = splat(builder, load(builder, ends[t], F32, 4))
            if has_scales:
                factor = builder.fmul(factor, scales[b])
            lane_offset = ir.Constant(I64, 4 * LANES * b)
            before = builder.add(builder.add(start, _times(builder, start_stride, t)), lane_offset)
            after = builder.add(builder.add(out, _times(builder, out_stride, t)), lane_offset)
            dot = builder.sitofp(builder.load(dots[t, b]), V_F32)
            store(builder, builder.call(multiply_add, [dot, factor, load(builder, before, V_F32, 4)]), after, 4)
        return context.get_dummy_value()

    return signature, generate


def _times(builder: ir.IRBuilder, value: ir.Value, factor: int) -> ir.Value:
    return builder.mul(value, ir.Constant(I64, factor))


@functools.cache
def wide_matmul(with_scales: int) -> Any:
    """The function that `tiled` makes for wide rows."""

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, tokens, blocks):
        wide_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
                  0, tokens, blocks, with_scales)  # fmt: skip

    tier = current_tier()
    shapes = ((tier.tile_tokens, tier.tile_blocks), (2, tier.tile_blocks), (1, PANEL_BLOCKS))
    return tiled(tile, shapes)


@functools.cache
def wide_group_matmul(with_scales: int, rows: int) -> Any:
    """The function that `grouped` makes for wide rows."""

    @numba.njit(inline="always")
    def tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns, ahead, tokens, blocks):
        wide_tile(w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
                  ahead, tokens, blocks, with_scales)  # fmt: skip

    return grouped(tile, wide_matmul(with_scales), rows)

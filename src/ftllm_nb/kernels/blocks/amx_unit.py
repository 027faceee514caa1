"""A super-block's products on AMX: 16 tokens × the 256 columns of one unit, tile of tokens after tile.

In a super-block a number times its scale is a whole number of at most 14 bits and a sign, and all that counts is the
sum of these over the unit's columns, times the activations. So a unit becomes two planes of bytes, each
`[columns/4][16][4]`: the lower ones, unsigned, and the upper ones, signed. Two products of tile registers go through
all columns without a pause, where each group's sums would have to pass through vectors, and

    Σ scale · (number − center) · value = lower products + 256 · upper products

is exact, so that what follows has the bits that tile.py gives it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ftllm_nb.kernels.activation_rows import SCALE, SUMS_OF_16, SUMS_OF_32
from ftllm_nb.kernels.amx_registers import (
    CONFIGURATION_BYTES,
    ROW_BYTES,
    load_register,
    multiply_registers,
    store_register,
    zero_register,
)
from ftllm_nb.kernels.amx_tile import STEP_COLUMNS, TOKENS
from ftllm_nb.kernels.blocks.block_type import PART_QUADS, QUAD, BlockType
from ftllm_nb.kernels.blocks.parts import WORD_BYTES
from ftllm_nb.kernels.dot import V_BYTES, V_I32, V_WORDS, emit_word_products
from ftllm_nb.kernels.emit import (
    F32,
    I8,
    I16,
    I32,
    I64,
    LANES,
    LINE_BYTES,
    PREFETCH_BYTES,
    computed_here,
    constant,
    emitted,
    interleave,
    load,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.simd import V_F32
from ftllm_nb.kernels.sums import multiply_add, scaled_sums

_PRODUCT_BYTES = 1024
"""Of the sums of a tile register."""
PRODUCTS = CONFIGURATION_BYTES
"""Where in the scratch of `unit_products` two pairs of products are, after the registers' configuration,"""
PRODUCTS_END = PRODUCTS + 4 * _PRODUCT_BYTES
"""and where they end."""
TOTALS_BYTES = TOKENS * 4 * LANES
"""Of a tile's totals, float32 [16 tokens][16 rows]."""
_LOWER, _UPPER, _VALUES, _WEIGHTS = 0, 1, (4, 5), (6, 7)
"""Numbers of the tile registers."""


class PlanesLayout:
    """Where the parts of a unit begin that is unpacked to planes of bytes, and its size."""

    def __init__(self, type: BlockType) -> None:
        self.upper = LANES * type.columns
        self.each = 2 * self.upper
        self.minimums = self.each + WORD_BYTES * type.groups
        pairs = type.groups // 2 if type.has_minimums else 0
        self.factor = self.minimums + WORD_BYTES * pairs
        self.second_factor = self.factor + WORD_BYTES
        self.size = self.second_factor + (WORD_BYTES if type.has_minimums else 0)


def planes_unpacker(type: BlockType) -> Any:
    """A function `unpack(unit, planes)` for kernels, which also fetches what follows the unit."""
    layout = PlanesLayout(type)
    chunk_quads = PART_QUADS * type.chunk_parts
    group_quads = type.group // QUAD
    chunk_bytes = type.unit_bytes // type.chunks
    lines = -(-chunk_bytes // LINE_BYTES)
    eight = constant(I16, 8, 2 * LANES)
    lower_bytes = constant(I16, 0xFF, 2 * LANES)

    def scaled(b: ir.IRBuilder, numbers: Any, scale: Any) -> tuple[Any, Any]:
        """Lower and upper bytes of 64 numbers times their rows' scales."""
        is_signed = type.is_signed or type.center
        if type.center:
            numbers = b.sub(numbers, constant(I8, type.center, 4 * LANES))
        words = b.bitcast(numbers, V_WORDS)
        even = b.ashr(b.shl(words, eight), eight) if is_signed else b.and_(words, lower_bytes)
        odd = b.ashr(words, eight) if is_signed else b.lshr(words, eight)
        even, odd = b.mul(even, scale), b.mul(odd, scale)
        lower = b.or_(b.and_(even, lower_bytes), b.shl(odd, eight))
        upper = b.or_(b.lshr(even, eight), b.and_(odd, constant(I16, -256, 2 * LANES)))
        return b.bitcast(lower, V_BYTES), b.bitcast(upper, V_BYTES)

    def unpack(b, unit, planes):
        def keep(value: Any, at: int) -> None:
            store(b, value, b.add(planes, _i64(at)), 4)

        scales = type.scales(b, unit)
        for at, vectors in ((layout.each, scales.each), (layout.minimums, scales.minimums)):
            for number, words in enumerate(vectors):
                keep(words, at + WORD_BYTES * number)
        factor, second = type.factors(b, unit)
        keep(factor, layout.factor)
        if second is not None:
            keep(b.fneg(second), layout.second_factor)
        with cgutils.for_range(b, _i64(type.chunks)) as loop:
            target = b.add(planes, b.mul(loop.index, _i64(WORD_BYTES * chunk_quads)))
            each = b.mul(loop.index, _i64(WORD_BYTES * (chunk_quads // group_quads)))
            each = b.add(b.add(planes, _i64(layout.each)), each)
            ahead = b.add(unit, b.add(b.mul(loop.index, _i64(chunk_bytes)), _i64(PREFETCH_BYTES)))
            for quad in range(chunk_quads):
                for line in range(lines * quad // chunk_quads, lines * (quad + 1) // chunk_quads):
                    prefetch(b, b.add(ahead, _i64(LINE_BYTES * line)))
                numbers = type.numbers(b, unit, loop.index, quad // PART_QUADS, quad % PART_QUADS)
                scale = load(b, b.add(each, _i64(WORD_BYTES * (quad // group_quads))), V_WORDS, 4)
                lower, upper = scaled(b, numbers, scale)
                place = b.add(target, _i64(WORD_BYTES * quad))
                store(b, lower, place, 4)
                store(b, upper, b.add(place, _i64(layout.upper)), 4)

    return emitted(types.void, types.int64, types.int64)(unpack)


def unit_products(type: BlockType) -> Any:
    """A function `multiply(planes, x, records, x_stride, rows, totals, scratch)` for kernels: totals += a unit's
    products with `rows` tokens, of which 16 make a tile.

    `x`, `records`: the first token's values of these columns, and its record. Where there are more, the last tile is
    that of the last 16 tokens, and may share some with the one before. `totals`: of TOTALS_BYTES a tile. The registers
    are configured for steps of 64 columns and up to 16 rows.
    """

    def multiply(b, planes, x, records, x_stride, rows, totals, scratch):
        _Products(b, type, planes, x, records, x_stride, rows, totals, scratch).emit()

    return emitted(types.void, *([types.int64] * 7))(multiply)


class _Products:
    """Emits them: a tile's products are under way while the sums of the one before join the totals."""

    def __init__(self, b: ir.IRBuilder, type: BlockType, planes: Any, x: Any, records: Any, x_stride: Any, rows: Any,
                 totals: Any, scratch: Any) -> None:  # fmt: skip
        self.b, self.type, self.layout = b, type, PlanesLayout(type)
        self.planes, self.x, self.records, self.x_stride = planes, x, records, x_stride
        self.totals, self.products = totals, b.add(scratch, _i64(PRODUCTS))
        self.tiles = b.udiv(b.add(rows, _i64(TOKENS - 1)), _i64(TOKENS))
        has_more = b.icmp_signed(">", rows, _i64(TOKENS))
        self.last_first = b.select(has_more, b.sub(rows, _i64(TOKENS)), _i64(0))
        last = b.select(has_more, _i64(TOKENS - 1), b.sub(rows, _i64(1)))
        numbers = [_i64(token) for token in range(TOKENS)]
        existing = [b.select(b.icmp_signed("<", number, last), number, last) for number in numbers]
        self.strides = [b.mul(number, x_stride) for number in existing]
        self.factor = load(b, b.add(planes, _i64(self.layout.factor)), V_F32, 4)
        self.minimums: list[Any] = []
        if type.has_minimums:
            self.second = load(b, b.add(planes, _i64(self.layout.second_factor)), V_F32, 4)
            at = [self.layout.minimums + WORD_BYTES * pair for pair in range(type.groups // 2)]
            self.minimums = [load(b, b.add(planes, _i64(each)), V_WORDS, 4) for each in at]

    def emit(self) -> None:
        b = self.b
        interleave(self.product(_i64(0)))
        before_last = b.sub(self.tiles, _i64(1))
        with cgutils.for_range_slice(b, _i64(0), before_last, _i64(1)) as (tile, _):
            interleave(self.product(b.add(tile, _i64(1))), self.additions(tile))
        interleave(self.additions(before_last))

    def place(self, tile: Any) -> Any:
        """Where a tile's products are."""
        return self.b.add(self.products, self.times(self.b.and_(tile, _i64(1)), 2 * _PRODUCT_BYTES))

    def first(self, tile: Any) -> Any:
        """How far the first token of a tile is."""
        b = self.b
        is_last = b.icmp_signed("==", b.add(tile, _i64(1)), self.tiles)
        return b.mul(b.select(is_last, self.last_first, self.times(tile, TOKENS)), self.x_stride)

    def product(self, tile: Any) -> list[Any]:
        """Instructions that make and store a tile's products."""
        b = self.b
        values, stored = b.add(self.x, self.first(tile)), self.place(tile)
        instructions = [lambda: zero_register(b, _LOWER), lambda: zero_register(b, _UPPER)]
        for column in range(0, self.type.columns, STEP_COLUMNS):
            instructions += self.step(values, column)
        return [
            *instructions,
            lambda: store_register(b, _LOWER, stored, _i64(ROW_BYTES)),
            lambda: store_register(b, _UPPER, b.add(stored, _i64(_PRODUCT_BYTES)), _i64(ROW_BYTES)),
        ]

    def step(self, values: Any, column: int) -> list[Any]:
        """Instructions that add the products of 64 columns."""
        b, (first, second) = self.b, _WEIGHTS
        weights, register = b.add(self.planes, _i64(LANES * column)), _VALUES[column // STEP_COLUMNS % 2]
        return [
            lambda: load_register(b, register, b.add(values, _i64(column)), self.x_stride),
            lambda: load_register(b, first, weights, _i64(ROW_BYTES)),
            lambda: multiply_registers(b, "tdpbsud", _LOWER, register, first),
            lambda: load_register(b, second, b.add(weights, _i64(self.layout.upper)), _i64(ROW_BYTES)),
            lambda: multiply_registers(b, "tdpbssd", _UPPER, register, second),
        ]

    def additions(self, tile: Any) -> list[Any]:
        """Instructions of each token: its totals += what its sums stand for."""
        b, type = self.b, self.type
        lower = self.place(tile)
        upper = b.add(lower, _i64(_PRODUCT_BYTES))
        records = b.add(self.records, self.first(tile))
        totals = b.add(self.totals, self.times(tile, TOTALS_BYTES))
        sums_at = SUMS_OF_16 if type.group == 16 else SUMS_OF_32

        def add(token: int) -> None:
            line = _i64(4 * LANES * token)
            high = b.shl(load(b, b.add(upper, line), V_I32, 4), constant(I32, 8))
            dot = b.add(high, load(b, b.add(lower, line), V_I32, 4))
            record = b.add(records, self.strides[token])
            scale = splat(b, load(b, b.add(record, _i64(SCALE)), F32, 4))
            total = load(b, b.add(totals, line), V_F32, 4)
            total = multiply_add(b, scaled_sums(b, dot, scale, None), self.factor, total)
            if self.minimums:
                found: Any = constant(I32, 0)
                for pair, minimums in enumerate(self.minimums):
                    sums = load(b, b.add(record, _i64(sums_at + 4 * pair)), I32, 4)
                    found = emit_word_products(b, found, minimums, b.bitcast(splat(b, sums), V_WORDS))
                total = multiply_add(b, scaled_sums(b, found, scale, None), self.second, total)
            store(b, computed_here(b, total), b.add(totals, line), 4)

        return [lambda token=token: add(token) for token in range(TOKENS)]

    def times(self, value: Any, factor: int) -> Any:
        return self.b.mul(value, _i64(factor))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)

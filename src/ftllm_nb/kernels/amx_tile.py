"""The integer matmul tile on AMX, which multiplies matrices of 16 × 64 bytes: 16 tokens × one block of 16 rows.

Weights are unpacked first, to signed bytes `[columns/4][16][4]` padded with zeros to a multiple of 64 columns, since
many tokens share the work. Dot products are exact, and what follows is done as integer_tile.py does it: the bits are
the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ftllm_nb.kernels.emit import (
    F32,
    I8,
    I16,
    I32,
    I64,
    LANES,
    constant,
    emitted,
    function,
    literal,
    load,
    pointer,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.integer_tile import MIDDLE, load_scales, zero_products
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES
from ftllm_nb.kernels.simd import V_F32, V_I32

TOKENS = 16
"""Rows of a tile register: tokens of a tile."""
STEP_COLUMNS = 64
"""Most columns that one multiplication takes."""
AT_ONCE = 4
"""Groups that are under way together: see `_Tile`."""
SCRATCH_BYTES = 64 + AT_ONCE * 1024
"""Of the tile: its configuration, then a place for each product."""

_VALUES, _WEIGHTS = (4, 5), (6, 7)
"""Numbers of the tile registers."""
_V_BYTES = ir.VectorType(I8, 4 * LANES)


def step_columns(group: int) -> int:
    """Columns of each multiplication for groups of so many columns, a multiple of 32, or 0 for all."""
    return STEP_COLUMNS if group % STEP_COLUMNS == 0 else STEP_COLUMNS // 2


@emitted(types.void, types.int64, types.int64)
def configure(builder, scratch, columns):
    """Shape the tile registers for multiplications of 32 or 64 `columns`."""
    words = pointer(builder, scratch, I64)
    quads = builder.udiv(columns, ir.Constant(I64, 4))
    repeated = builder.mul(quads, ir.Constant(I64, 0x0101))
    # Bytes: palette 1, 15 zeros, 16 row lengths of 2 bytes, 16 numbers of rows of 1 byte, zeros.
    values = [
        ir.Constant(I64, 1),
        ir.Constant(I64, 0),
        ir.Constant(I64, 0x0040_0040_0040_0040),
        builder.or_(builder.mul(columns, ir.Constant(I64, 0x0001_0001)), ir.Constant(I64, 0x0040_0040 << 32)),
        ir.Constant(I64, 0),
        ir.Constant(I64, 0),
        builder.or_(builder.shl(repeated, ir.Constant(I64, 48)), ir.Constant(I64, 0x1010_1010_1010)),
        ir.Constant(I64, 0),
    ]
    for number, value in enumerate(values):
        builder.store(value, builder.gep(words, [ir.Constant(I32, number)])).align = 8
    place = pointer(builder, scratch, I8)
    builder.call(function(builder, "llvm.x86.ldtilecfg", ir.VoidType(), place.type), [place])


@emitted(types.void)
def release(builder):
    """Leave the tile registers empty, so that switching threads costs nothing."""
    builder.call(function(builder, "llvm.x86.tilerelease", ir.VoidType()), [])


@intrinsic(prefer_literal=True)
def unpack_vector(typing_context, source, target, bits):
    """64 bytes of packed weights to signed bytes: 64 from 8 bits, 128 from 4. `bits` is a constant."""
    width = literal(bits)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        source, target = values[:2]
        packed = load(builder, source, _V_BYTES)
        middle = constant(I8, MIDDLE[width] - 256 if width == 8 else MIDDLE[width], 4 * LANES)
        if width == 8:
            store(builder, builder.xor(packed, middle), target)
            return context.get_dummy_value()
        words = ir.VectorType(I16, 2 * LANES)
        shifted = builder.bitcast(builder.lshr(builder.bitcast(packed, words), constant(I16, 4, 32)), _V_BYTES)
        for number, part in enumerate((packed, shifted)):
            half = builder.and_(part, constant(I8, 15, 4 * LANES))
            place = builder.add(target, ir.Constant(I64, 64 * number))
            store(builder, builder.sub(half, middle), place)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, bits), generate


@intrinsic(prefer_literal=True)
def amx_tile(
    typing_context, weights, scales, zeros, x, x_scales, x_stride, start, start_stride, out, out_stride, columns,
    all_groups, scratch, bits, group, with_zeros, scale_kind,
):  # fmt: skip
    """out[t, l] = start[t, l] + Σ over groups of scales · dot, for 16 tokens and the 16 rows of one block.

    Some neighbouring groups of a row are done, `columns` in all, of which the addresses (and strides, in bytes) are
    given: `weights`, unpacked; the block's `scales`, and `zeros` where `with_zeros` is 1; `x`: quantized values of the
    first token, and `x_scales`, followed, `all_groups` further on, by starts. `start` and `out` are float32, and may be
    the same. `bits`, `group` (columns of a group, 0 for all), `with_zeros` and `scale_kind` (a code of matmul_tile.py)
    are constants. The tile registers must be configured for `step_columns(group)` columns.
    """
    constants = (bits, group, with_zeros, scale_kind)
    tile = _Tile(*map(literal, constants))
    signature = types.void(*([types.int64] * 13), *constants)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        tile.emit(builder, *values[:13])
        return context.get_dummy_value()

    return signature, generate


class _Tile:
    """Emits one tile; a call's operands are kept as attributes while it does.

    What a tile register holds reaches vectors through memory only, and takes long: a product is begun three groups
    before its dots are added to the totals, and stored two groups before. The instructions of the three stand between
    each other, so that all of the core is busy. (While tile registers are in use, a core of Sapphire Rapids does one
    vector instruction of 512 bits a cycle instead of two: 16 tokens of a group cost 48 cycles for their conversions,
    factors and sums, and 16 in the tile unit.)
    """

    def __init__(self, bits: int, group: int, with_zeros: int, scale_kind: int) -> None:
        self.bits, self.group, self.with_zeros = bits, group, with_zeros
        self.scale_kind, self.scales_size = scale_kind, LANES * WEIGHT_BYTES[scale_kind]

    def emit(self, builder: ir.IRBuilder, weights: Any, scales: Any, zeros: Any, x: Any, x_scales: Any, x_stride: Any,
             start: Any, start_stride: Any, out: Any, out_stride: Any, columns: Any, all_groups: Any,
             scratch: Any) -> None:  # fmt: skip
        self.builder = b = builder
        self.weights, self.scales, self.zeros, self.x, self.x_stride = weights, scales, zeros, x, x_stride
        self.products = b.add(scratch, _i64(64))
        self.groups = b.udiv(columns, _i64(self.group)) if self.group else _i64(1)
        self.value_scales = [b.add(x_scales, self.times(x_stride, token)) for token in range(TOKENS)]
        self.starts_offset = self.times(all_groups, 4)
        self.totals = [cgutils.alloca_once(b, V_F32) for _ in range(TOKENS)]
        for token, total in enumerate(self.totals):
            b.store(load(b, b.add(start, self.times(start_stride, token)), V_F32, 4), total)
        # Lines that are not there when the totals are stored would hold up the products that are stored after them.
        for token in range(TOKENS):
            prefetch(b, b.add(out, self.times(out_stride, token)), to_write=True)
        if self.group:
            self.emit_groups()
        else:
            self.tile("zero", 0)
            steps = b.udiv(b.add(columns, _i64(STEP_COLUMNS - 1)), _i64(STEP_COLUMNS))
            with cgutils.for_range(b, steps) as loop:
                for instruction in self.multiply(0, self.times(loop.index, STEP_COLUMNS)):
                    instruction()
            self.store_dots(0)
            for addition in self.additions(_i64(0), self.products):
                addition()
        for token, total in enumerate(self.totals):
            store(b, b.load(total), b.add(out, self.times(out_stride, token)), 4)

    def emit_groups(self) -> None:
        b = self.builder
        for number in range(AT_ONCE - 1):
            for instruction in self.product(number, _i64(number)):
                instruction()
        for number in range(AT_ONCE - 2):
            self.store_dots(number)
        whole = b.and_(self.groups, _i64(-AT_ONCE))
        with cgutils.for_range_slice(b, _i64(0), whole, _i64(AT_ONCE)) as (at, _):
            for number in range(AT_ONCE):
                group = b.add(at, _i64(number))
                begun = (number + AT_ONCE - 1) % AT_ONCE
                self.store_dots((number + AT_ONCE - 2) % AT_ONCE)
                interleave(
                    self.product(begun, b.add(group, _i64(AT_ONCE - 1))),
                    self.additions(group, b.add(self.products, _i64(1024 * number))),
                )
        self.store_dots(AT_ONCE - 2)
        with cgutils.for_range_slice(b, whole, self.groups, _i64(1)) as (group, _):
            for addition in self.additions(group, b.add(self.products, self.times(b.sub(group, whole), 1024))):
                addition()

    def product(self, number: int, group: Any) -> list[Callable[[], None]]:
        """Instructions that make dot register `number` the products of a group, or of the last one if there is none."""
        b = self.builder
        last = b.sub(self.groups, _i64(1))
        begin = self.times(b.select(b.icmp_signed("<", group, last), group, last), self.group)
        instructions: list[Callable[[], None]] = [lambda: self.tile("zero", number)]
        for at in range(0, self.group, step_columns(self.group)):
            instructions += self.multiply(number, b.add(begin, _i64(at)))
        return instructions

    def multiply(self, number: int, column: Any) -> list[Callable[[], None]]:
        """Instructions that add the products of the columns from `column` on to dot register `number`."""
        b = self.builder
        values, weights = _VALUES[number % 2], _WEIGHTS[number % 2]
        place = b.add(self.weights, self.times(column, LANES))
        name = "llvm.x86.tdpbssd"
        return [
            lambda: self.tile("loadd64", values, b.add(self.x, column), self.x_stride),
            lambda: self.tile("loadd64", weights, place, _i64(64)),
            lambda: b.call(function(b, name, ir.VoidType(), I8, I8, I8), [_i8(number), _i8(values), _i8(weights)]),
        ]

    def store_dots(self, number: int) -> None:
        self.tile("stored64", number, self.builder.add(self.products, _i64(1024 * number)), _i64(64))

    def tile(self, what: str, number: int, address: Any = None, stride: Any = None) -> None:
        b = self.builder
        arguments = [_i8(number)]
        if address is not None:
            arguments += [pointer(b, address, I8), stride]
        kinds = [argument.type for argument in arguments]
        b.call(function(b, f"llvm.x86.tile{what}", ir.VoidType(), *kinds), arguments)

    def additions(self, group: Any, dots: Any) -> list[Callable[[], None]]:
        """Instructions of each token: totals += scales · the group's dots, which lie at `dots`."""
        b = self.builder
        multiply_add = function(b, "llvm.fma.v16f32", V_F32, V_F32, V_F32, V_F32)
        four = self.times(group, 4)
        scales = load_scales(b, b.add(self.scales, self.times(group, self.scales_size)), self.scale_kind)
        zeros = b.add(self.zeros, self.times(group, LANES))

        def add(token: int) -> None:
            total = self.totals[token]
            dot = load(b, b.add(dots, _i64(64 * token)), V_I32, 4)
            scale_place = b.add(self.value_scales[token], four)
            if self.with_zeros:
                start = load(b, b.add(scale_place, self.starts_offset), I32, 4)
                dot = b.add(dot, zero_products(b, zeros, MIDDLE[self.bits], start, self.group))
            factor = b.fmul(scales, splat(b, load(b, scale_place, F32, 4)))
            b.store(b.call(multiply_add, [b.sitofp(dot, V_F32), factor, b.load(total)]), total)

        return [functools.partial(add, token) for token in range(TOKENS)]

    def times(self, value: Any, factor: int) -> Any:
        return self.builder.mul(value, _i64(factor))


def interleave(few: Sequence[Callable[[], None]], many: Sequence[Callable[[], None]]) -> None:
    """Emit two lists of instructions, each in its order, the first spread over the second."""
    done = 0
    for number, instruction in enumerate(few, start=1):
        instruction()
        end = len(many) * number // len(few)
        for other in many[done:end]:
            other()
        done = end


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def _i8(value: int) -> ir.Constant:
    return ir.Constant(I8, value)

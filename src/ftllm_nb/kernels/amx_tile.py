"""The integer matmul tile on AMX, which multiplies matrices of 16 × 64 bytes: 16 tokens × one block of 16 rows.

Weights are unpacked first, to signed bytes `[columns/4][16][4]` padded with zeros to a multiple of 64 columns, since
many tokens share the work. Dot products are exact, and what follows is done as integer_tile.py does it: the bits are
the same.
"""

from __future__ import annotations

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
"""Groups whose products are under way together."""
SCRATCH_BYTES = 64 + AT_ONCE * 1024
"""Of the tile: its configuration, then a place for each product."""

_DOTS = range(AT_ONCE)
_VALUES, _WEIGHTS = (4, 5), (6, 7)
"""Numbers of the tile registers."""
_V_BYTES = ir.VectorType(I8, 4 * LANES)


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
    typing_context, weights, scales, x, x_stride, start, out, out_stride, columns, scratch,
    bits, group, with_zeros, scale_kind
):  # fmt: skip
    """out[t, l] = start[l] + Σ over groups of scales · dot, for 16 tokens and the 16 rows of one block.

    Addresses and strides are in bytes. `weights`: unpacked; `scales`: the block's, followed by its zero points where
    `with_zeros` is 1; `x`: quantized rows; `start`: float32 [16]. `columns`: with padding to whole groups. `bits`,
    `group` (columns of a group, 0 for all), `with_zeros` and `scale_kind` (a code of matmul_tile.py) are constants. The
    tile registers must be configured for min(group, 64) columns.
    """
    constants = (bits, group, with_zeros, scale_kind)
    tile = _Tile(*map(literal, constants))
    signature = types.void(*([types.int64] * 9), *constants)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        tile.emit(builder, *values[:9])
        return context.get_dummy_value()

    return signature, generate


class _Tile:
    """Emits one tile; a call's operands are kept as attributes while it does."""

    def __init__(self, bits: int, group: int, with_zeros: int, scale_kind: int) -> None:
        self.bits, self.group, self.with_zeros = bits, group, with_zeros
        self.scale_kind, self.scales_size = scale_kind, LANES * WEIGHT_BYTES[scale_kind]

    def emit(self, builder: ir.IRBuilder, weights: Any, scales: Any, x: Any, x_stride: Any, start: Any, out: Any,
             out_stride: Any, columns: Any, scratch: Any) -> None:  # fmt: skip
        self.builder = b = builder
        self.weights, self.scales, self.x, self.x_stride = weights, scales, x, x_stride
        self.products = b.add(scratch, _i64(64))
        self.groups = b.udiv(columns, _i64(self.group)) if self.group else _i64(1)
        self.zeros = b.add(scales, self.times(self.groups, self.scales_size))
        rows = [b.add(x, self.times(x_stride, token)) for token in range(TOKENS)]
        self.value_scales = [b.add(row, columns) for row in rows]
        self.totals = [cgutils.alloca_once(b, V_F32) for _ in range(TOKENS)]
        first = load(b, start, V_F32, 4)
        for total in self.totals:
            b.store(first, total)
        if self.group:
            whole = b.and_(self.groups, _i64(-AT_ONCE))
            with cgutils.for_range_slice(b, _i64(0), whole, _i64(AT_ONCE)) as (at, _):
                self.emit_groups([b.add(at, _i64(number)) for number in range(AT_ONCE)])
            with cgutils.for_range_slice(b, whole, self.groups, _i64(1)) as (at, _):
                self.emit_groups([at])
        else:
            self.tile("zero", 0)
            steps = b.udiv(b.add(columns, _i64(STEP_COLUMNS - 1)), _i64(STEP_COLUMNS))
            with cgutils.for_range(b, steps) as loop:
                self.multiply(0, self.times(loop.index, STEP_COLUMNS))
            self.store_dots(0)
            self.add_group(0, _i64(0))
        for token, total in enumerate(self.totals):
            store(b, b.load(total), b.add(out, self.times(out_stride, token)), 4)

    def emit_groups(self, groups: list[Any]) -> None:
        for number, group in enumerate(groups):
            self.tile("zero", number)
            begin = self.times(group, self.group)
            for at in range(0, self.group, STEP_COLUMNS):
                self.multiply(number, self.builder.add(begin, _i64(at)))
            self.store_dots(number)
        for number, group in enumerate(groups):
            self.add_group(number, group)

    def multiply(self, number: int, column: Any) -> None:
        """Add the products of the columns from `column` on to dot register `number`."""
        b = self.builder
        values, weights = _VALUES[number % 2], _WEIGHTS[number % 2]
        self.tile("loadd64", values, b.add(self.x, column), self.x_stride)
        self.tile("loadd64", weights, b.add(self.weights, self.times(column, LANES)), _i64(64))
        name = "llvm.x86.tdpbssd"
        b.call(function(b, name, ir.VoidType(), I8, I8, I8), [_i8(number), _i8(values), _i8(weights)])

    def store_dots(self, number: int) -> None:
        self.tile("stored64", number, self.builder.add(self.products, _i64(1024 * number)), _i64(64))

    def tile(self, what: str, number: int, address: Any = None, stride: Any = None) -> None:
        b = self.builder
        arguments = [_i8(number)]
        if address is not None:
            arguments += [pointer(b, address, I8), stride]
        kinds = [argument.type for argument in arguments]
        b.call(function(b, f"llvm.x86.tile{what}", ir.VoidType(), *kinds), arguments)

    def add_group(self, number: int, group: Any) -> None:
        """Totals += scales · dots of a group."""
        b = self.builder
        multiply_add = function(b, "llvm.fma.v16f32", V_F32, V_F32, V_F32, V_F32)
        four = self.times(group, 4)
        scales = load_scales(b, b.add(self.scales, self.times(group, self.scales_size)), self.scale_kind)
        zeros = b.add(self.zeros, self.times(group, LANES))
        for token, total in enumerate(self.totals):
            dots = load(b, b.add(self.products, _i64(1024 * number + 64 * token)), V_I32, 4)
            scale_place = b.add(self.value_scales[token], four)
            if self.with_zeros:
                start = load(b, b.add(scale_place, self.times(self.groups, 4)), I32, 4)
                dots = b.add(dots, zero_products(b, zeros, MIDDLE[self.bits], start, self.group))
            dot = b.sitofp(dots, V_F32)
            factor = b.fmul(scales, splat(b, load(b, scale_place, F32, 4)))
            b.store(b.call(multiply_add, [dot, factor, b.load(total)]), total)

    def times(self, value: Any, factor: int) -> Any:
        return self.builder.mul(value, _i64(factor))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


def _i8(value: int) -> ir.Constant:
    return ir.Constant(I8, value)

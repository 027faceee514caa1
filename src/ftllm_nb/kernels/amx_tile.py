"""The integer matmul tile on AMX, which multiplies matrices of 16 × 64 bytes: up to 16 tokens × one block of 16 rows.

A tile register takes weights as bytes `[columns/4][16][4]`. Those of 8 bits lie so already and are multiplied as they
are, unsigned; those of 4 bits are unpacked to signed bytes by the first tile of tokens that meets them, ahead of its
products. Dot products are exact, and what follows is done as integer_tile.py does it: the bits are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ftllm_nb.kernels.activation_rows import ORIGIN, RECORD_BYTES
from ftllm_nb.kernels.amx_registers import (
    CONFIGURATION_BYTES,
    ROW_BYTES,
    configure_registers,
    load_register,
    multiply_registers,
    store_register,
    zero_register,
)
from ftllm_nb.kernels.emit import (
    F32,
    I8,
    I32,
    I64,
    LANES,
    LINE_BYTES,
    SECOND_CACHE,
    computed_here,
    constant,
    emitted,
    function,
    interleave,
    literal,
    load,
    pointer,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.integer_tile import load_scales
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES
from ftllm_nb.kernels.simd import V_F32, V_I32
from ftllm_nb.kernels.sums import MIDDLE, multiply_add, scaled_sums, sums_are_floats, zero_products

TOKENS = 16
"""Rows of a tile register: most tokens of a tile."""
STEP_COLUMNS = 64
"""Most columns that one multiplication takes."""
AT_ONCE = 4
"""Groups that are under way together: see `_Tile`."""
_FETCH_BYTES = 4096
"""How far ahead weights are fetched, over the end of what is done into what comes next."""
SLAB_COLUMNS = 1024
"""About so many columns, whole groups, all of a chunk goes through before the next ones: so many of a tile of tokens
and of a block of weights stay in the first cache together."""

_PRODUCTS = CONFIGURATION_BYTES
"""Offsets into the tile's scratch: after its configuration a place for each product,"""
_NOWHERE = _PRODUCTS + AT_ONCE * 1024
"""where sums of tokens that are not there go,"""
TOKEN_SCALES = _NOWHERE + 64
"""the tokens' scales, float32 `[groups of a slab][16]`,"""
TOKEN_STARTS = TOKEN_SCALES + SLAB_COLUMNS // 32 * 64
"""their starts, int32,"""
TOKEN_OFFSETS = TOKEN_STARTS + SLAB_COLUMNS // 32 * 64
"""and their offsets, float32."""
SCRATCH_BYTES = TOKEN_OFFSETS + SLAB_COLUMNS // 32 * 64

_VALUES, _WEIGHTS = (4, 5), (6, 7)
"""Numbers of the tile registers."""
_V_BYTES = ir.VectorType(I8, 4 * LANES)


PACKED, UNPACKED, AS_THEY_ARE = 0, 1, 2
"""What a tile finds: packed weights, which it unpacks to signed bytes; those that an earlier tile has unpacked; packed
ones of 8 bits, which it takes as unsigned."""


def needs_starts(source: int, with_zeros: int) -> bool:
    """Whether the tile reads the tokens' starts."""
    return source == AS_THEY_ARE or with_zeros == 1


def needs_offsets(source: int, bits: int, group: int, with_zeros: int) -> bool:
    """Whether the tile reads the tokens' offsets: where starts bring sums their origin."""
    return source == AS_THEY_ARE and sums_are_floats(bits, group, with_zeros)


def step_columns(group: int) -> tuple[int, int]:
    """Columns of each multiplication by the even and by the odd registers, for groups of so many columns, 0 for all.

    Those of a group are a multiple of 32. Of a whole row, the odd registers take the last ones that make no 64.
    """
    half = STEP_COLUMNS // 2
    if group == 0:
        return STEP_COLUMNS, half
    return (half, half) if group % STEP_COLUMNS else (STEP_COLUMNS, STEP_COLUMNS)


@emitted(types.void, types.int64, types.int64, types.int64, types.int64)
def configure(builder, scratch, even_columns, odd_columns, tokens):
    """Shape the tile registers for `step_columns` and 1 … 16 tokens."""

    def packed(even: Any, odd: Any, bits: int) -> Any:
        return builder.or_(even, builder.shl(odd, _i64(bits)))

    even_quads, odd_quads = (builder.udiv(each, _i64(4)) for each in (even_columns, odd_columns))
    tokens_of_six = builder.mul(tokens, _i64(0x0101_0101_0101))
    values_and_weights = builder.or_(packed(even_columns, odd_columns, 16), _i64(0x0040_0040 << 32))
    rows = builder.or_(builder.shl(packed(even_quads, odd_quads, 8), _i64(48)), tokens_of_six)
    configure_registers(builder, scratch, (_i64(0x0040_0040_0040_0040), values_and_weights), rows)


@emitted(types.void, types.int64, types.int64, types.int64, types.int64, types.int64)
def lay_side_by_side(builder, source, stride, tokens, count, target):
    """Copy a part of `count` records of each of 1 … 16 tokens to `[count][16]`, so that a group's are one line."""
    b = builder
    lanes = ir.Constant(V_I32, list(range(TOKENS)))
    last, step = (splat(b, b.trunc(each, I32)) for each in (b.sub(tokens, _i64(1)), stride))
    offsets = b.mul(b.select(b.icmp_signed("<", lanes, last), lanes, last), step)
    zeros = constant(I32, 0)
    every = ir.Constant(ir.VectorType(ir.IntType(1), TOKENS), [True] * TOKENS)
    kinds = [V_I32, pointer(b, source, I8).type, V_I32, every.type, I32]
    gather = function(b, "llvm.x86.avx512.mask.gather.dpi.512", V_I32, *kinds)
    with cgutils.for_range(b, count) as loop:
        place = pointer(b, b.add(source, b.mul(loop.index, _i64(RECORD_BYTES))), I8)
        value = b.call(gather, [zeros, place, offsets, every, ir.Constant(I32, 1)])
        store(b, value, b.add(target, b.mul(loop.index, _i64(64))), 4)


def _nibble_matrix(first_bit: int) -> int:
    """What vgf2p8affineqb makes a byte's four bits from `first_bit` on by, as a signed byte, once 8 is subtracted.

    Byte 7 − i of the matrix chooses the bits of which bit i of the result is the sum. The subtraction turns the upper
    bit over and copies it upwards.
    """
    return sum(1 << (first_bit + min(bit, 3) + 8 * (7 - bit)) for bit in range(8))


@intrinsic(prefer_literal=True)
def amx_tile(
    typing_context, packed, unpacked, scales, zeros, x, x_stride, start, start_stride, out, out_stride, columns, tokens,
    next_weights, next_scales, scratch, bits, group, with_zeros, scale_kind, source,
):  # fmt: skip
    """out[t, l] = start[t, l] + Σ over groups of scales · dot, for `tokens` tokens and the 16 rows of one block.

    Some neighbouring groups of a row are done, `columns` in all, of which the addresses (and strides, in bytes) are
    given: `packed` weights, and the place of `unpacked` ones; the block's `scales`, and `zeros` where `with_zeros`
    is 1; `x`: quantized values of the first token. The tokens' scales are in `scratch`, and their starts and offsets
    where `needs_starts` and `needs_offsets`. `start` and `out` are float32, and may be the same. `next_weights` and
    `next_scales`: what comes next.

    `bits`, `group` (columns of a group, 0 for all), `with_zeros`, `scale_kind` (a code of matmul_tile.py)
    and `source` (what the tile finds; unless an earlier tile has unpacked the block, what comes next is fetched) are
    constants. The tile registers must be configured for `step_columns(group)` and so many tokens.
    """
    constants = (bits, group, with_zeros, scale_kind, source)
    tile = _Tile(*map(literal, constants))
    signature = types.void(*([types.int64] * 15), *constants)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        tile.emit(builder, *values[:15])
        return context.get_dummy_value()

    return signature, generate


Instructions = list[Callable[[], None]]


class _Tile:
    """Emits one tile; a call's operands are kept as attributes while it does.

    What a tile register holds reaches vectors through memory only, and takes long: a product is begun three groups
    before its dots are added to the totals, and stored two groups before; its weights are unpacked a group earlier
    still. The instructions of all stand between each other, so that all of the core is busy. (While tile registers are
    in use, a core of Sapphire Rapids does one vector instruction of 512 bits a cycle instead of two: 16 tokens of a
    group cost 48 cycles for their conversions, factors and sums, and 16 in the tile unit.)
    """

    def __init__(self, bits: int, group: int, with_zeros: int, scale_kind: int, source: int) -> None:
        self.bits, self.group, self.with_zeros = bits, group, with_zeros
        self.scale_kind, self.scales_size = scale_kind, LANES * WEIGHT_BYTES[scale_kind]
        self.source = source
        self.are_floats = needs_offsets(source, bits, group, with_zeros)

    def emit(self, builder: ir.IRBuilder, packed: Any, unpacked: Any, scales: Any, zeros: Any, x: Any, x_stride: Any,
             start: Any, start_stride: Any, out: Any, out_stride: Any, columns: Any, tokens: Any, next_weights: Any,
             next_scales: Any, scratch: Any) -> None:  # fmt: skip
        self.builder = b = builder
        self.packed, self.scales, self.zeros, self.x, self.x_stride = packed, scales, zeros, x, x_stride
        self.weights = packed if self.source == AS_THEY_ARE else unpacked
        self.next_weights, self.next_scales = next_weights, next_scales
        self.products, self.token_scales, self.token_starts, self.token_offsets = (
            b.add(scratch, _i64(offset)) for offset in (_PRODUCTS, TOKEN_SCALES, TOKEN_STARTS, TOKEN_OFFSETS)
        )
        self.bytes = self.times(columns, 2 * self.bits)
        self.groups = b.udiv(columns, _i64(self.group)) if self.group else _i64(1)
        self.totals = [cgutils.alloca_once(b, V_F32) for _ in range(TOKENS)]
        last = b.sub(tokens, _i64(1))
        for token, total in enumerate(self.totals):
            number = b.select(b.icmp_signed("<", _i64(token), last), _i64(token), last)
            b.store(load(b, b.add(start, b.mul(start_stride, number)), V_F32, 4), total)
        targets = []
        for token in range(TOKENS):
            place, nowhere = b.add(out, self.times(out_stride, token)), b.add(scratch, _i64(_NOWHERE))
            targets.append(b.select(b.icmp_signed(">", tokens, _i64(token)), place, nowhere))
        # Lines that are not there when the totals are stored would hold up the products that are stored after them.
        for target in targets:
            prefetch(b, target, to_write=True)
        if self.group:
            self.emit_groups()
        else:
            self.emit_row(columns)
        for target, total in zip(targets, self.totals, strict=True):
            store(b, b.load(total), target, 4)

    def emit_groups(self) -> None:
        b = self.builder
        for number in range(AT_ONCE):
            interleave(self.preparation(_i64(number)))
        for number in range(AT_ONCE - 1):
            interleave(self.product(number, _i64(number)))
        for number in range(AT_ONCE - 2):
            self.store_dots(number)
        # The last 1 … AT_ONCE groups only end: nothing is begun after them.
        whole = b.and_(b.sub(self.groups, _i64(1)), _i64(-AT_ONCE))
        with cgutils.for_range_slice(b, _i64(0), whole, _i64(AT_ONCE)) as (at, _):
            for number in range(AT_ONCE):
                group = b.add(at, _i64(number))
                begun = (number + AT_ONCE - 1) % AT_ONCE
                self.store_dots((number + AT_ONCE - 2) % AT_ONCE)
                interleave(
                    self.product(begun, b.add(group, _i64(AT_ONCE - 1))),
                    self.preparation(b.add(group, _i64(AT_ONCE))),
                    self.additions(group, b.add(self.products, _i64(1024 * number))),
                )
        self.store_dots(AT_ONCE - 2)
        with b.if_then(b.icmp_signed("==", b.sub(self.groups, whole), _i64(AT_ONCE))):
            interleave(self.product(AT_ONCE - 1, b.sub(self.groups, _i64(1))))
            self.store_dots(AT_ONCE - 1)
        with cgutils.for_range_slice(b, whole, self.groups, _i64(1)) as (group, _):
            interleave(self.additions(group, b.add(self.products, self.times(b.sub(group, whole), 1024))))

    def emit_row(self, columns: Any) -> None:
        """One group of all columns."""
        b = self.builder
        half = STEP_COLUMNS // 2
        if self.source == PACKED:
            with cgutils.for_range(b, b.udiv(columns, _i64(half))) as loop:
                interleave(self.reading(self.times(loop.index, half), half))
        zero_register(b, 0)
        whole = b.and_(columns, _i64(-STEP_COLUMNS))
        with cgutils.for_range_slice(b, _i64(0), whole, _i64(STEP_COLUMNS)) as (column, _):
            reading = self.reading(column, STEP_COLUMNS) if self.source == AS_THEY_ARE else []
            interleave(self.multiply(0, column, 0), reading)
        with b.if_then(b.icmp_signed("<", whole, columns)):
            interleave(self.multiply(0, whole, 1))
        self.store_dots(0)
        interleave(self.additions(_i64(0), self.products))

    def preparation(self, group: Any) -> Instructions:
        """Instructions that unpack a group's weights, and fetch as many bytes further on."""
        if self.source == UNPACKED:
            return []
        b = self.builder
        group = self.existing(group)
        scales = b.add(self.next_scales, self.times(group, self.scales_size))
        return [lambda: prefetch(b, scales), *self.reading(self.times(group, self.group), self.group)]

    def reading(self, column: Any, columns: int) -> Instructions:
        """The same of some columns from `column` on."""
        b = self.builder
        offset = self.times(column, 2 * self.bits)
        packed, far = b.add(self.packed, offset), b.add(offset, _i64(_FETCH_BYTES))
        over = b.sub(far, self.bytes)
        is_here = b.icmp_signed("<", over, _i64(0))
        ahead = b.select(is_here, b.add(self.packed, far), b.add(self.next_weights, over))
        target = b.add(self.weights, self.times(column, LANES))
        instructions: Instructions = []
        for at in range(0, columns * 2 * self.bits, LINE_BYTES):
            instructions.append(functools.partial(self.fetch, b.add(ahead, _i64(at))))
            if self.source == PACKED:
                instructions += self.unpacking(b.add(packed, _i64(at)), b.add(target, _i64(at * 8 // self.bits)))
        return instructions

    def fetch(self, address: Any) -> None:
        prefetch(self.builder, address, cache=SECOND_CACHE)

    def unpacking(self, source: Any, target: Any) -> Instructions:
        """Instructions that make 64 bytes of packed weights signed bytes."""
        b = self.builder
        affine = function(b, "llvm.x86.vgf2p8affineqb.512", _V_BYTES, _V_BYTES, _V_BYTES, I8)
        kept = []

        def read() -> None:
            kept.append(load(b, source, _V_BYTES))

        def unpack(number: int) -> None:
            if self.bits == 8:
                value = b.xor(kept[0], constant(I8, MIDDLE[8], 4 * LANES))
            else:
                matrix = b.bitcast(constant(I64, _nibble_matrix(4 * number), 8), _V_BYTES)
                value = b.call(affine, [kept[0], matrix, ir.Constant(I8, 0xF8)])
            store(b, value, b.add(target, _i64(64 * number)))

        return [read, *(functools.partial(unpack, number) for number in range(8 // self.bits))]

    def existing(self, group: Any) -> Any:
        """The number of a group, or of the last one if there is none."""
        last = self.builder.sub(self.groups, _i64(1))
        return self.builder.select(self.builder.icmp_signed("<", group, last), group, last)

    def product(self, number: int, group: Any) -> Instructions:
        """Instructions that make dot register `number` the products of a group."""
        begin = self.times(self.existing(group), self.group)
        instructions: Instructions = [lambda: zero_register(self.builder, number)]
        for at in range(0, self.group, step_columns(self.group)[0]):
            instructions += self.multiply(number, self.builder.add(begin, _i64(at)), number % 2)
        return instructions

    def multiply(self, number: int, column: Any, odd: int) -> Instructions:
        """Instructions that add the products of the columns from `column` on to dot register `number`."""
        b = self.builder
        values, weights = _VALUES[odd], _WEIGHTS[odd]
        place = b.add(self.weights, self.times(column, LANES))
        product = "tdpbsud" if self.source == AS_THEY_ARE else "tdpbssd"
        return [
            lambda: load_register(b, values, b.add(self.x, column), self.x_stride),
            lambda: load_register(b, weights, place, _i64(ROW_BYTES)),
            lambda: multiply_registers(b, product, number, values, weights),
        ]

    def store_dots(self, number: int) -> None:
        place = self.builder.add(self.products, _i64(1024 * number))
        store_register(self.builder, number, place, _i64(ROW_BYTES))

    def additions(self, group: Any, dots: Any) -> Instructions:
        """Instructions of each token: totals += scales · the group's dots, which lie at `dots`."""
        b = self.builder
        scales = load_scales(b, b.add(self.scales, self.times(group, self.scales_size)), self.scale_kind)
        zeros = b.add(self.zeros, self.times(group, LANES))
        of_tokens = self.times(group, 64)

        def add(token: int) -> None:
            total = self.totals[token]
            place = b.add(of_tokens, _i64(4 * token))
            dot = load(b, b.add(dots, _i64(64 * token)), V_I32, 4)
            if self.with_zeros:
                start = load(b, b.add(self.token_starts, place), I32, 4)
                subtracted = 0 if self.source == AS_THEY_ARE else MIDDLE[self.bits]
                dot = b.add(dot, zero_products(b, zeros, subtracted, start, self.group))
            elif self.source == AS_THEY_ARE:
                dot = b.add(dot, splat(b, load(b, b.add(self.token_starts, place), I32, 4)))
                if not self.are_floats:
                    dot = b.sub(dot, constant(I32, ORIGIN))
            scale = splat(b, load(b, b.add(self.token_scales, place), F32, 4))
            offset = splat(b, load(b, b.add(self.token_offsets, place), F32, 4)) if self.are_floats else None
            scaled = scaled_sums(b, dot, scale, offset)
            b.store(computed_here(b, multiply_add(b, scaled, scales, b.load(total))), total)

        return [functools.partial(add, token) for token in range(TOKENS)]

    def times(self, value: Any, factor: int) -> Any:
        return self.builder.mul(value, _i64(factor))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)

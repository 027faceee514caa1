"""The vector vocabulary: 16 lanes of float32 or int32, with ordinary operators.

`a + b`, `a * b`, `a - b`, `a / b`, `-a` and comparisons work on vectors; scalars are spread with `spread`.
A vector lives in registers (LLVM splits it where registers are narrower). Loads and stores take int64
addresses, in bytes. Loops over a length that is no multiple of 16 use the `_partial` forms for the tail, so
that tails do the same arithmetic.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from ftllm_nb.kernels.emit import (
    F16,
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    LANES,
    constant,
    emitted,
    function,
    load,
    splat,
    store,
)
from ftllm_nb.kernels.half import narrow_half, widen_half

V_F32, V_F16, V_I32, V_I16, V_I1 = (ir.VectorType(kind, LANES) for kind in (F32, F16, I32, I16, I1))


class VectorType(types.Type):
    """A Numba type for one vector register's worth of values."""

    def __init__(self, name: str, llvm_type: ir.VectorType) -> None:
        self.llvm_type = llvm_type
        super().__init__(name)


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, data_model_manager: Any, numba_type: VectorType) -> None:
        super().__init__(data_model_manager, numba_type, numba_type.llvm_type)


float32x16 = VectorType("float32x16", V_F32)
int32x16 = VectorType("int32x16", V_I32)
mask16 = VectorType("mask16", V_I1)


def _binary(python_operator: Any, vector: VectorType, result: VectorType, emit: Any) -> None:
    """Teach Numba one operator on two vectors."""

    class Template(ConcreteTemplate):
        cases = (signature(result, vector, vector),)

    infer_global(python_operator)(Template)

    @lower_builtin(python_operator, vector, vector)
    def lower(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        return emit(builder, *values)


_binary(operator.add, float32x16, float32x16, lambda b, x, y: b.fadd(x, y))
_binary(operator.sub, float32x16, float32x16, lambda b, x, y: b.fsub(x, y))
_binary(operator.mul, float32x16, float32x16, lambda b, x, y: b.fmul(x, y))
_binary(operator.truediv, float32x16, float32x16, lambda b, x, y: b.fdiv(x, y))
_binary(operator.lt, float32x16, mask16, lambda b, x, y: b.fcmp_ordered("<", x, y))
_binary(operator.gt, float32x16, mask16, lambda b, x, y: b.fcmp_ordered(">", x, y))
_binary(operator.add, int32x16, int32x16, lambda b, x, y: b.add(x, y))
_binary(operator.lshift, int32x16, int32x16, lambda b, x, y: b.shl(x, y))
_binary(operator.lt, int32x16, mask16, lambda b, x, y: b.icmp_signed("<", x, y))


@emitted(float32x16, types.float32)
def spread(builder, value):
    """A float32 in every lane."""
    return splat(builder, value)


@emitted(int32x16, types.int32)
def spread_int(builder, value):
    """An int32 in every lane."""
    return splat(builder, value)


@emitted(int32x16)
def lane_numbers(builder):
    """0, 1, … 15."""
    return ir.Constant(V_I32, list(range(LANES)))


def _lanes_below(builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
    whole = ir.Constant(I64, LANES)
    below = builder.select(builder.icmp_signed("<", count, whole), count, whole)
    lanes = ir.Constant(V_I32, list(range(LANES)))
    return builder.icmp_signed("<", lanes, splat(builder, builder.trunc(below, I32)))


@emitted(float32x16, types.int64)
def load_vector(builder, address):
    """16 float32 at an address."""
    return load(builder, address, V_F32, 4)


def partial_vector(builder: ir.IRBuilder, address: ir.Value, count: ir.Value) -> ir.Value:
    """Code for `load_vector_partial`. With a branch for whole vectors instead, which would be faster without registers
    for masks, LLVM 22 made the value poison in a loop that goes round once (attention over an int8 cache, avx2)."""
    place = builder.inttoptr(address, V_F32.as_pointer())
    masked = function(builder, "llvm.masked.load.v16f32.p0", V_F32, place.type, I32, V_I1, V_F32)
    return builder.call(masked, [place, ir.Constant(I32, 4), _lanes_below(builder, count), constant(F32, 0.0)])


@emitted(float32x16, types.int64, types.int64)
def load_vector_partial(builder, address, count):
    """The first `count` of 16 float32 at an address, zero in the other lanes, whose memory is not touched."""
    return partial_vector(builder, address, count)


@emitted(types.void, types.int64, float32x16)
def store_vector(builder, address, value):
    """Write 16 float32."""
    store(builder, value, address, 4)


@emitted(types.void, types.int64, float32x16, types.int64)
def store_vector_partial(builder, address, value, count):
    """Write the first `count` lanes; the memory of the others is not touched. Whole vectors are written as such: where
    there are no registers for masks, CPUs take many times as long for a store with one."""
    pointer = builder.inttoptr(address, V_F32.as_pointer())
    masked = function(builder, "llvm.masked.store.v16f32.p0", ir.VoidType(), V_F32, pointer.type, I32, V_I1)
    with builder.if_else(builder.icmp_signed(">=", count, ir.Constant(I64, LANES))) as (is_whole, is_part):
        with is_whole:
            store(builder, value, address, 4)
        with is_part:
            builder.call(masked, [value, pointer, ir.Constant(I32, 4), _lanes_below(builder, count)])


@emitted(types.void, types.int64, float32x16)
def store_vector_past_caches(builder, address, value):
    """Write 16 float32 at a multiple of 64 bytes which nobody reads soon: to memory, without reading what was there."""
    builder.store(value, builder.inttoptr(address, V_F32.as_pointer()), align=64).set_metadata(
        "nontemporal", builder.module.add_metadata([ir.Constant(I32, 1)])
    )


def widen_f16(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Code that loads 16 float16 and widens them."""
    return widen_half(builder, load(builder, address, V_F16, 2))


@emitted(float32x16, types.int64)
def load_halves(builder, address):
    """16 float16 at an address."""
    return widen_f16(builder, address)


@emitted(types.void, types.int64, float32x16)
def store_halves(builder, address, value):
    """Write 16 float16, rounded to the nearest, ties to even."""
    store(builder, narrow_half(builder, value), address, 2)


@emitted(float32x16, float32x16)
def rounded_to_halves(builder, value):
    """The float16 that are nearest."""
    return widen_half(builder, narrow_half(builder, value))


def widen_bf16(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Code that loads 16 bfloat16 and widens them: the bits are the upper half of a float32."""
    bits = builder.zext(load(builder, address, V_I16, 2), V_I32)
    return builder.bitcast(builder.shl(bits, constant(I32, 16)), V_F32)


def _call(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    kind = values[0].type
    return builder.call(function(builder, name, kind, *(value.type for value in values)), values)


@emitted(float32x16, float32x16, float32x16, float32x16)
def fma(builder, a, b, c):
    """a · b + c, rounded once."""
    return _call(builder, "llvm.fma.v16f32", a, b, c)


@emitted(float32x16, float32x16, float32x16)
def maximum(builder, a, b):
    """The larger of each lane (the other one where one is NaN)."""
    return _call(builder, "llvm.maxnum.v16f32", a, b)


@emitted(float32x16, float32x16)
def round_even(builder, a):
    """Each lane rounded to the nearest integer, ties to even."""
    return _call(builder, "llvm.rint.v16f32", a)


@emitted(int32x16, float32x16)
def to_int(builder, a):
    """Each lane, which must be a whole number that fits, as an int32."""
    return builder.fptosi(a, V_I32)


@emitted(int32x16, float32x16)
def as_int_bits(builder, a):
    """The lanes' bits read as int32."""
    return builder.bitcast(a, V_I32)


@emitted(float32x16, int32x16)
def as_float_bits(builder, a):
    """The lanes' bits read as float32."""
    return builder.bitcast(a, V_F32)


@emitted(float32x16, float32x16)
def round_bfloat16(builder, a):
    """Each lane rounded to the nearest bfloat16, ties to even."""
    bits = builder.bitcast(a, V_I32)
    odd = builder.and_(builder.lshr(bits, constant(I32, 16)), constant(I32, 1))
    rounded = builder.add(bits, builder.add(odd, constant(I32, 0x7FFF)))
    return builder.bitcast(builder.and_(rounded, constant(I32, -65536)), V_F32)


@emitted(types.void, types.int64, float32x16)
def store_upper_halves(builder, address, value):
    """Write the upper half of each lane's bits, the bfloat16 that it is after `round_bfloat16`: 32 bytes."""
    upper = builder.lshr(builder.bitcast(value, V_I32), constant(I32, 16))
    store(builder, builder.trunc(upper, V_I16), address, 2)


@emitted(int32x16, float32x16)
def magnitude_bits(builder, a):
    """The bits of each lane's absolute value: as integers they order as the floats do, NaN above infinity."""
    return builder.and_(builder.bitcast(a, V_I32), constant(I32, 0x7FFFFFFF))


@emitted(int32x16, int32x16, int32x16)
def maximum_int(builder, a, b):
    """The larger of each lane."""
    return builder.select(builder.icmp_signed(">", a, b), a, b)


@emitted(int32x16, int32x16, int32x16)
def minimum_int(builder, a, b):
    """The smaller of each lane."""
    return builder.select(builder.icmp_signed("<", a, b), a, b)


@emitted(types.void, types.int64, int32x16)
def store_bytes(builder, address, value):
    """Write the low byte of each lane: 16 bytes."""
    store(builder, builder.trunc(value, ir.VectorType(I8, LANES)), address)


@emitted(float32x16, mask16, float32x16, float32x16)
def select(builder, mask, a, b):
    """a where the mask is set, else b."""
    return builder.select(mask, a, b)


def _fold(builder: ir.IRBuilder, value: ir.Value, combine: Any) -> ir.Value:
    """Combine the lanes pairwise, upper half onto lower half: a fixed order in every tier."""
    width = LANES
    while width > 1:
        width //= 2
        undefined = ir.Constant(value.type, ir.Undefined)
        halves = [
            builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(I32, width), [*range(at, at + width)]))
            for at in (0, width)
        ]
        value = combine(halves[0], halves[1])
    return builder.extract_element(value, ir.Constant(I32, 0))


@emitted(types.float32, float32x16)
def sum_lanes(builder, value):
    """The sum of the lanes, pairwise from the upper half."""
    return _fold(builder, value, builder.fadd)


@emitted(types.float32, float32x16)
def max_lanes(builder, value):
    """The largest lane."""

    def larger(a: ir.Value, b: ir.Value) -> ir.Value:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return _fold(builder, value, larger)


@emitted(types.int64, int32x16)
def sum_lanes_int(builder, value):
    """The sum of the lanes, which must fit an int32."""
    return builder.sext(_fold(builder, value, builder.add), I64)


@emitted(types.int64, types.int64)
def sum_bytes(builder, address):
    """The sum of the 16 signed bytes at an address."""
    values = builder.sext(load(builder, address, ir.VectorType(I8, LANES)), V_I16)
    return builder.sext(_fold(builder, values, builder.add), I64)


@emitted(types.int64, int32x16)
def max_lanes_int(builder, value):
    """The largest lane."""

    def larger(a: ir.Value, b: ir.Value) -> ir.Value:
        return builder.select(builder.icmp_signed(">", a, b), a, b)

    return builder.sext(_fold(builder, value, larger), I64)


@emitted(types.float32, float32x16, types.int64)
def lane(builder, value, index):
    """One lane."""
    return builder.extract_element(value, builder.trunc(index, I32))


def _shuffled(builder: ir.IRBuilder, value: ir.Value, lanes: list[int]) -> ir.Value:
    undefined = ir.Constant(value.type, ir.Undefined)
    return builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(I32, LANES), lanes))


@emitted(float32x16, float32x16)
def swap_neighbours(builder, value):
    """Lanes 1, 0, 3, 2, …"""
    return _shuffled(builder, value, [lane ^ 1 for lane in range(LANES)])


@emitted(float32x16, float32x16)
def each_twice(builder, value):
    """Lanes 0, 0, 1, 1, … 7, 7."""
    return _shuffled(builder, value, [lane // 2 for lane in range(LANES)])


@emitted(float32x16)
def alternating(builder):
    """−1, 1, −1, 1, …"""
    return ir.Constant(V_F32, [float(2 * (lane % 2) - 1) for lane in range(LANES)])


@emitted(float32x16, types.float32, types.float32)
def pair(builder, first, others):
    """A vector with one value in lane 0 and another in all other lanes."""
    return builder.insert_element(splat(builder, others), first, ir.Constant(I32, 0))


@emitted(float32x16, float32x16, float32x16)
def evens(builder, first, second):
    """Lanes 0, 2, … 14 of the first vector, then those of the second."""
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, LANES), [*range(0, 2 * LANES, 2)]))


@emitted(float32x16, float32x16, float32x16)
def odds(builder, first, second):
    """Lanes 1, 3, … 15 of the first vector, then those of the second."""
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, LANES), [*range(1, 2 * LANES, 2)]))

"""float16 to float32 and back, as instructions where the tier has them and as integer arithmetic elsewhere.

Without such instructions LLVM calls functions of the compiler's run-time library, which a process may lack.
The arithmetic is for one value or a vector of them, and gives the instructions' bits.
"""

from __future__ import annotations

from llvmlite import ir

from ftllm_nb.kernels.emit import F16, F32, I16, I32, LANES
from ftllm_nb.kernels.tiers import current_tier


def widen_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A float16, or a vector of them, as float32."""
    if current_tier().converts_halves:
        return builder.fpext(value, _like(value, F32))
    return widen_half_by_integers(builder, value)


def narrow_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """A float32, or a vector of them, as float16, rounded to the nearest, ties to even."""
    if current_tier().converts_halves:
        return builder.fptrunc(value, _like(value, F16))
    return narrow_half_by_integers(builder, value)


def widen_half_by_integers(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """See `widen_half`."""
    whole, single = _like(value, I32), _like(value, F32)
    bits = builder.zext(builder.bitcast(value, _like(value, I16)), whole)
    sign = builder.shl(builder.and_(bits, _constant(whole, 0x8000)), _constant(whole, 16))
    magnitude = builder.shl(builder.and_(bits, _constant(whole, 0x7FFF)), _constant(whole, 13))
    # The exponents' biases are 15 and 127; a product makes subnormal numbers normal, too.
    scaled = builder.bitcast(
        builder.fmul(builder.bitcast(magnitude, single), _constant(single, 2.0**112)), whole
    )
    not_finite = builder.icmp_unsigned(">=", magnitude, _constant(whole, 0x7C00 << 13))
    kept = builder.or_(magnitude, _constant(whole, 0x7F800000))
    return builder.bitcast(builder.or_(builder.select(not_finite, kept, scaled), sign), single)


def narrow_half_by_integers(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """See `narrow_half`."""
    whole, single = _like(value, I32), _like(value, F32)
    bits = builder.bitcast(value, whole)
    magnitude = builder.and_(bits, _constant(whole, 0x7FFFFFFF))
    sign = builder.lshr(builder.xor(bits, magnitude), _constant(whole, 16))

    # Normal numbers: the exponent in its new bias, then half of what is cut off, or a little less.
    odd = builder.and_(builder.lshr(magnitude, _constant(whole, 13)), _constant(whole, 1))
    rebiased = builder.add(magnitude, _constant(whole, ((15 - 127) << 23) + 0xFFF))
    normal = builder.lshr(builder.add(rebiased, odd), _constant(whole, 13))

    # Subnormal ones: adding 0.5 leaves a multiple of 2^-24, the smallest float16, in the lowest bits.
    half = _constant(single, 0.5)
    shifted = builder.bitcast(builder.fadd(builder.bitcast(magnitude, single), half), whole)
    subnormal = builder.sub(shifted, builder.bitcast(half, whole))

    infinite = _constant(whole, 0x7C00)
    payload = builder.and_(builder.lshr(magnitude, _constant(whole, 13)), _constant(whole, 0x3FF))
    not_a_number = builder.or_(payload, _constant(whole, 0x7E00))

    result = builder.select(_below(builder, magnitude, 113 << 23), subnormal, normal)
    result = builder.select(_below(builder, magnitude, 143 << 23), result, infinite)
    result = builder.select(_below(builder, magnitude, 0x7F800001), result, not_a_number)
    narrow = builder.trunc(builder.or_(result, sign), _like(value, I16))
    return builder.bitcast(narrow, _like(value, F16))


def _below(builder: ir.IRBuilder, magnitude: ir.Value, bound: int) -> ir.Value:
    return builder.icmp_unsigned("<", magnitude, _constant(magnitude.type, bound))


def _like(value: ir.Value, kind: ir.Type) -> ir.Type:
    """`kind` in as many lanes as the value has."""
    return ir.VectorType(kind, LANES) if isinstance(value.type, ir.VectorType) else kind


def _constant(kind: ir.Type, value: float) -> ir.Constant:
    return ir.Constant(kind, [value] * LANES if isinstance(kind, ir.VectorType) else value)

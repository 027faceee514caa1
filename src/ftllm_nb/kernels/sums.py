"""What becomes of integer dot products. A group's is multiplied by the scale of its activations, then by that of its
weights, and added to its row's total: one chain along the groups, whatever the tile's shape,

    total = fma(round(dot · the token's scale), the weights' scale, total).

To convert a sum to float is one instruction more, of which groups of 32 columns have 8 for the products themselves. It
is not needed where sums are small: they begin at ORIGIN, the bits of the float 1.5 · 2 ** 23, around which floats are
integers, one after the other. Then the bits of a sum are those of 1.5 · 2 ** 23 + dot, and a multiply-add makes
dot · scale of them, (1.5 · 2 ** 23 + dot) · scale + offset, which is rounded once: scales keep 22 bits, so that the
offset, −1.5 · 2 ** 23 · scale, is exact.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.emit import I8, I16, I32, LANES, constant, function, load, splat
from ftllm_nb.kernels.simd import V_F32, V_I32

MIDDLE = {4: 8, 8: 128}
"""What stands for zero in weights without zero points, by their bits."""
_NARROW_SUMS = 256
"""Columns whose sum of values fits 16 bits: LLVM then multiplies by it in one instruction."""

_MOST = 2**22
"""Floats around 1.5 · 2 ** 23 are integers up to this far away."""
_MOST_VALUE = 127
"""Of activations."""


def sums_are_floats(bits: int, group: int, with_zeros: int) -> bool:
    """Whether dot products of weights of `bits` bits in groups of `group` columns, 0 for all, end as bits of floats."""
    return group > 0 and not with_zeros and group * MIDDLE[bits] * _MOST_VALUE < _MOST


def scaled_sums(builder: ir.IRBuilder, sums: Any, scale: Any, offset: Any | None) -> Any:
    """float32: dot · scale, for 16 sums. `offset`: of the token, if `sums_are_floats`; else None, and sums are dots."""
    if offset is None:
        return builder.fmul(builder.sitofp(sums, V_F32), scale)
    return multiply_add(builder, builder.bitcast(sums, V_F32), scale, offset)


def multiply_add(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    """a · b + c, rounded once, for 16 float32."""
    return builder.call(function(builder, "llvm.fma.v16f32", V_F32, V_F32, V_F32, V_F32), [a, b, c])


def zero_products(builder: ir.IRBuilder, address: Any, subtracted: int, start: Any, group: int) -> Any:
    """int32: the 16 zero points of a group at an address, less `subtracted`, times a token's start."""
    zeros = builder.zext(load(builder, address, ir.VectorType(I8, LANES)), V_I32)
    zeros = builder.sub(zeros, constant(I32, subtracted))
    if 0 < group <= _NARROW_SUMS:
        start = builder.sext(builder.trunc(start, I16), I32)
    return builder.mul(zeros, splat(builder, start))

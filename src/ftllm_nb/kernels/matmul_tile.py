"""The float matmul tile: some tokens × some blocks of 16 weight rows, accumulated along the inputs.

Weights lie in blocks of 16 rows, `[rows/16][inputs][16]`: one vector load feeds 16 output rows, nothing is summed
across lanes, and decode, prefill and attention read the same layout. Each output element is one chain of fused
multiply-adds along the inputs in ascending order, whatever the tile's shape, so that all tiles give equal bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ftllm_nb.kernels.emit import (
    F32,
    I64,
    LANES,
    LINE_BYTES,
    SECOND_CACHE,
    function,
    literal,
    load,
    pointer,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.fetching import fetch_weights, places_to_fetch
from ftllm_nb.kernels.half import narrow_half, widen_half
from ftllm_nb.kernels.simd import V_F32, widen_bf16, widen_f16

FLOAT32, FLOAT16, BFLOAT16, INT8 = 0, 1, 2, 3
"""Codes of the types that a tile's weights may have; INT8 is of the KV cache alone, and wide_tile.py's matter."""

WEIGHT_BYTES = {FLOAT32: 4, FLOAT16: 2, BFLOAT16: 2, INT8: 1}

LOADERS = {
    FLOAT32: lambda builder, address: load(builder, address, V_F32, 4),
    FLOAT16: widen_f16,
    BFLOAT16: widen_bf16,
}
"""By type: code for 16 weights at an address, widened to float32."""


@intrinsic(prefer_literal=True)
def matmul_tile(
    typing_context, w, block_stride, x, x_stride, start, start_stride, out, out_stride, count,
    ahead, tokens, blocks, kind,
):  # fmt: skip
    """out[t, 16·b + l] = start[t, 16·b + l] + Σ_k x[t, k] · w[b, k, l], for t < tokens, b < blocks.

    Addresses and strides (of a block, or of a token) are in bytes. `w`: blocks of `count` × 16 weights of type
    `kind`; `x`, `start`, `out`: float32. `start` may be `out` itself (to go on along the inputs), or a bias with
    stride 0. `ahead`: bytes from the first weight to what is fetched meanwhile, in its order and as long as the
    tile's weights; the constant 0: nothing is (a single token's loop fetches its own weights). `tokens`, `blocks` and
    `kind` are constants.
    """
    num_tokens, num_blocks, weight_kind = literal(tokens), literal(blocks), literal(kind)
    fetches = not isinstance(ahead, types.IntegerLiteral)
    signature = types.void(*([types.int64] * 9), types.int64 if fetches else ahead, tokens, blocks, kind)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        w, block_stride, x, x_stride, start, start_stride, out, out_stride, count, ahead = values[:10]
        multiply_add = function(builder, "llvm.fma.v16f32", V_F32, V_F32, V_F32, V_F32)
        load_weights = LOADERS[weight_kind]
        step_bytes = ir.Constant(I64, LANES * WEIGHT_BYTES[weight_kind])

        def times(value: ir.Value, factor: int) -> ir.Value:
            return builder.mul(value, ir.Constant(I64, factor))

        def place(base: ir.Value, stride: ir.Value, token: int, block: int) -> ir.Value:
            offset = builder.add(times(stride, token), ir.Constant(I64, 4 * LANES * block))
            return builder.add(base, offset)

        tile = [(t, b) for t in range(num_tokens) for b in range(num_blocks)]
        totals = {}
        for t, b in tile:
            totals[t, b] = cgutils.alloca_once(builder, V_F32)
            builder.store(load(builder, place(start, start_stride, t, b), V_F32, 4), totals[t, b])
        weight_rows = [builder.add(w, times(block_stride, b)) for b in range(num_blocks)]
        token_rows = [builder.add(x, times(x_stride, t)) for t in range(num_tokens)]

        def multiply(k: ir.Value) -> None:
            offset = builder.mul(k, step_bytes)
            weights = [load_weights(builder, builder.add(row, offset)) for row in weight_rows]
            for t in range(num_tokens):
                value = splat(builder, load(builder, builder.add(token_rows[t], times(k, 4)), F32, 4))
                for b in range(num_blocks):
                    total = builder.load(totals[t, b])
                    builder.store(builder.call(multiply_add, [value, weights[b], total]), totals[t, b])

        unroll = 4
        whole = builder.and_(count, ir.Constant(I64, -unroll))
        with cgutils.for_range_slice(builder, ir.Constant(I64, 0), whole, ir.Constant(I64, unroll)) as (k, _count):
            offset = builder.mul(k, step_bytes)
            if fetches:
                # Line after line, whatever the blocks: the hardware that fetches on by itself follows one row a page.
                target = builder.add(builder.add(w, ahead), times(offset, num_blocks))
                for line in range(0, num_blocks * unroll * step_bytes.constant, LINE_BYTES):
                    prefetch(builder, builder.add(target, ir.Constant(I64, line)), cache=SECOND_CACHE)
            elif num_tokens == 1:
                size, following = builder.mul(count, step_bytes), times(block_stride, num_blocks)
                places = places_to_fetch(builder, offset, size, following, num_blocks)
                for target in [builder.add(row, ahead_of_row) for ahead_of_row in places for row in weight_rows]:
                    for line in range(0, unroll * step_bytes.constant, LINE_BYTES):
                        fetch_weights(builder, builder.add(target, ir.Constant(I64, line)))
            for number in range(unroll):
                multiply(builder.add(k, ir.Constant(I64, number)))
        with cgutils.for_range_slice(builder, whole, count, ir.Constant(I64, 1)) as (k, _count):
            multiply(k)
        for t, b in tile:
            store(builder, builder.load(totals[t, b]), place(out, out_stride, t, b), 4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def load_weight(typing_context, address, kind):
    """One weight of type `kind` at an address, widened to float32."""
    weight_kind = literal(kind)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        bits = {FLOAT32: F32, FLOAT16: ir.HalfType(), BFLOAT16: ir.IntType(16)}[weight_kind]
        value = builder.load(pointer(builder, values[0], bits))
        if weight_kind == FLOAT16:
            return widen_half(builder, value)
        if weight_kind == BFLOAT16:
            wide = builder.zext(value, ir.IntType(32))
            return builder.bitcast(builder.shl(wide, ir.Constant(ir.IntType(32), 16)), F32)
        return value

    return types.float32(types.int64, kind), generate


@intrinsic(prefer_literal=True)
def store_weight(typing_context, address, value, kind):
    """Write a float32 as one weight of type `kind`, rounded to nearest even; NaN stays NaN."""
    weight_kind = literal(kind)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        address, value = values[:2]
        if weight_kind == FLOAT16:
            value = narrow_half(builder, value)
        elif weight_kind == BFLOAT16:
            value = _round_to_bf16(builder, value)
        store(builder, value, address, WEIGHT_BYTES[weight_kind])
        return context.get_dummy_value()

    return types.void(types.int64, types.float32, kind), generate


def _round_to_bf16(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The upper 16 bits of a float32, rounded to nearest even; a NaN keeps its upper bits, made quiet."""
    i32 = ir.IntType(32)
    bits = builder.bitcast(value, i32)
    upper = builder.lshr(bits, ir.Constant(i32, 16))
    odd = builder.and_(upper, ir.Constant(i32, 1))
    rounded = builder.lshr(builder.add(builder.add(bits, ir.Constant(i32, 0x7FFF)), odd), ir.Constant(i32, 16))
    quiet = builder.or_(upper, ir.Constant(i32, 0x40))
    is_nan = builder.fcmp_unordered("uno", value, value)
    return builder.trunc(builder.select(is_nan, quiet, rounded), ir.IntType(16))

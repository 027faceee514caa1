"""The tile of matrices of codes: some tokens × some blocks of 16 rows, summed as matmul_tile.py sums floats.

A weight is decoded, multiplied by its scale and rounded to float32 once: sums have the bits that a float32 matrix of
the same numbers gives.
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
    PREFETCH_BYTES,
    constant,
    function,
    literal,
    load,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.matmul_tile import LOADERS, WEIGHT_BYTES
from ftllm_nb.kernels.scaled.decode import QUAD, decoded, factor, step_bytes
from ftllm_nb.kernels.simd import V_F32


@intrinsic(prefer_literal=True)
def scaled_tile(
    typing_context, w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
    tokens, blocks, code, group, scale_kind, has_offsets,
):  # fmt: skip
    """out[t, 16·b + l] = start[t, 16·b + l] + Σ_k x[t, k] · w[b, k, l], for t < tokens, b < blocks.

    As `matmul_tile`, on blocks of codes (see the package): `code` and `scale_kind` are numbers, `group` the columns of
    a scale, 0 for all; `columns` and `group` are multiples of 4. All after `columns` are constants.
    """
    num_tokens, num_blocks, kind, width = literal(tokens), literal(blocks), literal(code), literal(group)
    scale_type, adds = literal(scale_kind), literal(has_offsets)
    signature = types.void(*([types.int64] * 9), tokens, blocks, code, group, scale_kind, has_offsets)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns = values[:9]
        fma = function(builder, "llvm.fma.v16f32", V_F32, V_F32, V_F32, V_F32)
        scales_bytes = LANES * WEIGHT_BYTES[scale_type]

        def number(value: int) -> ir.Constant:
            return ir.Constant(I64, value)

        def place(base: ir.Value, stride: ir.Value, token: int, block: int) -> ir.Value:
            offset = builder.add(builder.mul(stride, number(token)), number(4 * LANES * block))
            return builder.add(base, offset)

        tile = [(t, b) for t in range(num_tokens) for b in range(num_blocks)]
        totals = {each: cgutils.alloca_once(builder, V_F32) for each in tile}
        for t, b in tile:
            builder.store(load(builder, place(start, start_stride, t, b), V_F32, 4), totals[t, b])
        rows = [builder.add(w, builder.mul(block_stride, number(b))) for b in range(num_blocks)]
        token_rows = [builder.add(x, builder.mul(x_stride, number(t))) for t in range(num_tokens)]
        code_bytes = builder.mul(builder.sdiv(columns, number(2)), number(step_bytes(kind)))
        each_group = number(width) if width else columns
        last = builder.sub(each_group, number(1))
        groups = builder.sdiv(builder.add(columns, last), each_group)

        def multiply(k: ir.Value, scales: list[Any], offsets: list[Any]) -> None:
            at = builder.mul(builder.sdiv(k, number(2)), number(step_bytes(kind)))
            places = [builder.add(row, at) for row in rows]
            if num_tokens == 1:
                for each in places:
                    for line in range(0, QUAD // 2 * step_bytes(kind), LINE_BYTES):
                        prefetch(builder, builder.add(each, number(PREFETCH_BYTES + line)))
            weights = [decoded(builder, kind, each) for each in places]
            for column in range(QUAD):
                found = [
                    builder.call(fma, [weights[b][column], scales[b], offsets[b]])
                    if adds
                    else builder.fmul(weights[b][column], scales[b])
                    for b in range(num_blocks)
                ]
                offset = builder.mul(builder.add(k, number(column)), number(4))
                for t in range(num_tokens):
                    value = splat(builder, load(builder, builder.add(token_rows[t], offset), F32, 4))
                    for b in range(num_blocks):
                        total = builder.load(totals[t, b])
                        builder.store(builder.call(fma, [value, found[b], total]), totals[t, b])

        def of_group(g: ir.Value, base: ir.Value) -> list[Any]:
            at = builder.add(base, builder.mul(g, number(scales_bytes)))
            return [LOADERS[scale_type](builder, builder.add(row, at)) for row in rows]

        with cgutils.for_range(builder, groups) as loop:
            scales, offsets = of_group(loop.index, code_bytes), []
            scales = [builder.fmul(each, constant(F32, factor(kind))) for each in scales]
            if adds:
                offsets = of_group(loop.index, builder.add(code_bytes, builder.mul(groups, number(scales_bytes))))
            begin = builder.mul(loop.index, each_group)
            end = builder.add(begin, each_group)
            end = builder.select(builder.icmp_signed("<", end, columns), end, columns)
            with cgutils.for_range_slice(builder, begin, end, number(QUAD)) as (k, _count):
                multiply(k, scales, offsets)
        for t, b in tile:
            store(builder, builder.load(totals[t, b]), place(out, out_stride, t, b), 4)
        return context.get_dummy_value()

    return signature, generate

"""The integer matmul tile: some tokens × some blocks of 16 rows of 4-bit or 8-bit weights, group by group.

A block of weights holds its values, `[columns/4][16][4]` unsigned bytes or two such quads in the halves of a byte,
then a scale for each group and row, `[groups][16]` float16, bfloat16 or float32, then, for weights with zero points,
unsigned bytes `[groups][16]`. A token's row holds its values as int8 `[columns]`, then float32 `[groups]` scales, then
int32 `[groups]` starts: minus the format's middle times the sum of the group's values, so that a dot product begins
where unsigned weights end up right. Where weights have zero points the middle is 1, and a dot product begins at its
row's zero point times the start.

Each output is one chain along the groups, total = fma(float(dot), weight scale · token scale, total), whatever the
tile's shape; the dot products are exact. So all tiles give equal bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ftllm_nb.kernels.dot import V_BYTES, V_I32, emit_dot, subtracted
from ftllm_nb.kernels.emit import (
    F32,
    I8,
    I16,
    I32,
    I64,
    LANES,
    LINE_BYTES,
    PREFETCH_BYTES,
    SECOND_CACHE,
    constant,
    function,
    literal,
    load,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.matmul_tile import LOADERS, WEIGHT_BYTES
from ftllm_nb.kernels.simd import V_F32

MIDDLE = {4: 8, 8: 128}
"""What stands for zero in weights without zero points."""
NARROW_SUMS = 256
"""Columns whose sum of values fits 16 bits: LLVM then multiplies by it in one instruction."""
MOST_UNROLLED = 8
"""Groups of at most so many vectors of weights have no inner loop."""
UNROLLED = 4
"""Vectors of one row block in the body of an inner loop."""

SCALES_PREFETCH_BYTES = 256
"""The same for scales, of which there are fewer."""


def load_scales(builder: ir.IRBuilder, address: Any, kind: int) -> Any:
    """The 16 scales of a group, of a type from matmul_tile.py, as float32."""
    return LOADERS[kind](builder, address)


def zero_products(builder: ir.IRBuilder, address: Any, subtracted: int, start: Any, group: int) -> Any:
    """int32: the 16 zero points of a group at an address, less `subtracted`, times a token's start."""
    zeros = builder.zext(load(builder, address, ir.VectorType(I8, LANES)), V_I32)
    zeros = builder.sub(zeros, constant(I32, subtracted))
    if 0 < group <= NARROW_SUMS:
        start = builder.sext(builder.trunc(start, I16), I32)
    return builder.mul(zeros, splat(builder, start))


@intrinsic(prefer_literal=True)
def integer_tile(
    typing_context, w, block_stride, x, x_stride, start, start_stride, out, out_stride, columns,
    following, part, parts, tokens, blocks, bits, group, with_zeros, scale_kind
):  # fmt: skip
    """out[t, 16·b + l] = start[t, 16·b + l] + Σ over groups of scales · dot, for t < tokens, b < blocks.

    Addresses and strides (of a block, or of a token) are in bytes; `start` and `out` are float32, and `start` may be a
    bias with stride 0. `columns`: a multiple of `group`. `following`: the address of as many blocks, of which part
    `part` of `parts`, 1 or 2, is fetched meanwhile; the constant 0: nothing is (a single token's loop fetches its own
    weights). `tokens`, `blocks`, `bits`, `group` (columns of a group, a multiple of 8, or 0 for all), `with_zeros` and
    `scale_kind` (a code of matmul_tile.py) are constants.
    """
    constants = (tokens, blocks, bits, group, with_zeros, scale_kind)
    tile = _Tile(*map(literal, constants))
    fetches = not isinstance(following, types.IntegerLiteral)
    fetched = (types.int64,) * 3 if fetches else (following, part, parts)
    signature = types.void(*([types.int64] * 9), *fetched, *constants)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        tile.emit(builder, *values[: 12 if fetches else 9])
        return context.get_dummy_value()

    return signature, generate


class _Tile:
    """Emits one tile; a call's operands are kept as attributes while it does."""

    def __init__(self, tokens: int, blocks: int, bits: int, group: int, with_zeros: int, scale_kind: int) -> None:
        self.tokens, self.blocks, self.bits = tokens, blocks, bits
        self.group, self.with_zeros = group, with_zeros
        self.scale_kind, self.scales_size = scale_kind, LANES * WEIGHT_BYTES[scale_kind]
        self.quads = 8 // bits
        """Quads of columns in a vector of weights."""
        self.cells = [(token, block) for token in range(tokens) for block in range(blocks)]

    def emit(self, builder: ir.IRBuilder, w: Any, block_stride: Any, x: Any, x_stride: Any, start: Any,
             start_stride: Any, out: Any, out_stride: Any, columns: Any, *fetched: Any) -> None:  # fmt: skip
        self.builder = b = builder
        groups = b.udiv(columns, _i64(self.group)) if self.group else _i64(1)
        value_bytes = b.mul(columns, _i64(2 * self.bits))
        self.block_stride, self.value_bytes = block_stride, value_bytes
        self.scale_bytes, self.zero_bytes = self.times(groups, self.scales_size), self.times(groups, LANES)
        self.weights = [b.add(w, self.times(block_stride, block)) for block in range(self.blocks)]
        self.scales = [b.add(row, value_bytes) for row in self.weights]
        self.zeros = [b.add(row, self.scale_bytes) for row in self.scales]
        self.fetches = bool(fetched)
        if fetched:
            self.share_out(*fetched)
        self.values = [b.add(x, self.times(x_stride, token)) for token in range(self.tokens)]
        self.value_scales = [b.add(row, columns) for row in self.values]
        self.starts = [b.add(row, self.times(groups, 4)) for row in self.value_scales]
        self.dots = {cell: cgutils.alloca_once(b, V_I32) for cell in self.cells}
        self.totals = {cell: cgutils.alloca_once(b, V_F32) for cell in self.cells}
        for token, block in self.cells:
            first = load(b, self.place(start, start_stride, token, block), V_F32, 4)
            b.store(first, self.totals[token, block])
        if self.group:
            with cgutils.for_range(b, groups) as loop:
                self.emit_group(loop.index, self.group // (4 * self.quads))
        else:
            self.emit_group(_i64(0), b.udiv(columns, _i64(4 * self.quads)))
        for token, block in self.cells:
            store(b, b.load(self.totals[token, block]), self.place(out, out_stride, token, block), 4)

    def share_out(self, following: Any, part: Any, parts: Any) -> None:
        """Set where the lines begin that are fetched with each vector of weights, and with each group, and how far they
        go on with it: values, and what lies behind them, as if all blocks' values came first."""
        b = self.builder
        vectors = self.times(self.value_bytes, self.blocks)
        groups = self.times(b.sub(self.block_stride, self.value_bytes), self.blocks)
        self.group_bytes = self.blocks * (self.scales_size + LANES * self.with_zeros)
        self.of_vectors, self.of_groups = (
            (cgutils.alloca_once_value(b, b.add(begin, b.mul(part, b.udiv(size, parts)))), b.udiv(_i64(step), parts))
            for begin, size, step in (
                (following, vectors, self.blocks * LINE_BYTES),
                (b.add(following, vectors), groups, self.group_bytes),
            )
        )

    def fetch_on(self, fetched: tuple[Any, Any], lines: int) -> None:
        """Fetch lines, and go on."""
        b = self.builder
        place, step = fetched
        address = b.load(place)
        for line in range(lines):
            prefetch(b, b.add(address, _i64(LINE_BYTES * line)), cache=SECOND_CACHE)
        b.store(b.add(address, step), place)

    def emit_group(self, group: Any, vectors: Any) -> None:
        b = self.builder
        four = self.times(group, 4)
        for token in range(self.tokens):
            start = load(b, b.add(self.starts[token], four), I32, 4)
            first = constant(I32, 0) if subtracted(self.bits) else splat(b, start)
            for block in range(self.blocks):
                if self.with_zeros:
                    zeros = b.add(self.zeros[block], self.times(group, LANES))
                    first = zero_products(b, zeros, subtracted(self.bits), start, self.group)
                b.store(first, self.dots[token, block])
        if isinstance(vectors, int) and vectors <= MOST_UNROLLED:
            for ahead in range(vectors):
                self.emit_vector(self.times(group, vectors), ahead)
        else:
            self.emit_vectors(group, vectors)
        self.add_group(group)

    def emit_vectors(self, group: Any, vectors: Any) -> None:
        """A loop over the vectors of a group, unrolled in part."""
        b = self.builder
        vectors = _i64(vectors) if isinstance(vectors, int) else vectors
        begin = b.mul(group, vectors)
        whole = b.and_(vectors, _i64(-UNROLLED))
        with cgutils.for_range_slice(b, _i64(0), whole, _i64(UNROLLED)) as (at, _):
            for ahead in range(UNROLLED):
                self.emit_vector(b.add(begin, at), ahead)
        with cgutils.for_range_slice(b, whole, vectors, _i64(1)) as (at, _):
            self.emit_vector(b.add(begin, at), 0)

    def emit_vector(self, first: Any, ahead: int) -> None:
        """The dot products of one vector of each block's weights, `ahead` vectors on from the vector `first`: a
        constant, so that instructions' addresses hold it."""
        b = self.builder
        offset = b.add(self.times(first, 4 * LANES), _i64(4 * LANES * ahead))
        if self.tokens == 1:
            self.fetch_ahead(self.weights, offset, PREFETCH_BYTES, self.value_bytes)
        if self.fetches:
            self.fetch_on(self.of_vectors, self.blocks)
        packed = [load(b, b.add(row, offset), V_BYTES, 1) for row in self.weights]
        for quad in range(self.quads):
            weights = packed if self.bits == 8 else [self.half(vector_, quad) for vector_ in packed]
            column = b.add(self.times(first, 4 * self.quads), _i64(4 * (self.quads * ahead + quad)))
            for token in range(self.tokens):
                four = load(b, b.add(self.values[token], column), I32, 1)
                values = b.bitcast(splat(b, four), V_BYTES)
                for block in range(self.blocks):
                    dot = self.dots[token, block]
                    b.store(emit_dot(b, b.load(dot), weights[block], values, self.bits), dot)

    def fetch_ahead(self, rows: list[Any], offset: Any, distance: int, size: Any) -> None:
        """Prefetch what lies `distance` bytes on from an offset into rows of `size` bytes; past their end, in the
        same rows of the blocks that are read next."""
        b = self.builder
        ahead = b.add(offset, _i64(distance))
        beyond = b.add(b.sub(ahead, size), self.times(self.block_stride, self.blocks))
        ahead = b.select(b.icmp_signed("<", ahead, size), ahead, beyond)
        for row in rows:
            prefetch(b, b.add(row, ahead))

    def half(self, packed: Any, quad: int) -> Any:
        """The lower or upper four bits of each byte."""
        b = self.builder
        if quad == 1:
            words = ir.VectorType(I16, 2 * LANES)
            shifted = b.lshr(b.bitcast(packed, words), constant(I16, 4, 2 * LANES))
            packed = b.bitcast(shifted, V_BYTES)
        return b.and_(packed, constant(I8, 15, 4 * LANES))

    def add_group(self, group: Any) -> None:
        """Totals += scales · dots of the group that has been walked."""
        b = self.builder
        multiply_add = function(b, "llvm.fma.v16f32", V_F32, V_F32, V_F32, V_F32)
        four, row = self.times(group, 4), self.times(group, self.scales_size)
        if self.tokens == 1:
            self.fetch_ahead(self.scales, row, SCALES_PREFETCH_BYTES, self.scale_bytes)
            if self.with_zeros:
                self.fetch_ahead(self.zeros, self.times(group, LANES), SCALES_PREFETCH_BYTES, self.zero_bytes)
        if self.fetches:
            self.fetch_on(self.of_groups, -(-self.group_bytes // LINE_BYTES))
        value_scales = [splat(b, load(b, b.add(base, four), F32, 4)) for base in self.value_scales]
        for block in range(self.blocks):
            scales = load_scales(b, b.add(self.scales[block], row), self.scale_kind)
            for token in range(self.tokens):
                dot = b.sitofp(b.load(self.dots[token, block]), V_F32)
                factor = b.fmul(scales, value_scales[token])
                total = self.totals[token, block]
                b.store(b.call(multiply_add, [dot, factor, b.load(total)]), total)

    def place(self, base: Any, stride: Any, token: int, block: int) -> Any:
        offset = self.builder.add(self.times(stride, token), _i64(4 * LANES * block))
        return self.builder.add(base, offset)

    def times(self, value: Any, factor: int) -> Any:
        return self.builder.mul(value, _i64(factor))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)

"""The integer matmul tile: some tokens × some blocks of 16 rows of 4-bit or 8-bit weights, group by group.

A block of weights holds its values, `[columns/4][16][4]` unsigned bytes or two such quads in the halves of a byte,
then a scale for each group and row, `[groups][16]` float16, bfloat16 or float32, then, for weights with zero points,
unsigned bytes `[groups][16]`. A token's row lies as activation_rows.py says; sums.py says what becomes of the products.

Each output is one chain along the groups, whatever the tile's shape; the dot products are exact. So all tiles give
equal bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ftllm_nb.kernels.activation_rows import OFFSET, ORIGIN, RECORD_BYTES, SCALE, START
from ftllm_nb.kernels.dot import (
    PAIR_QUADS,
    V_BYTES,
    V_I32,
    V_WORDS,
    emit_dot,
    emit_pair_totals,
    emit_pairs,
    subtracted,
    sums_pairs,
)
from ftllm_nb.kernels.emit import (
    F32,
    I8,
    I16,
    I32,
    I64,
    LANES,
    LINE_BYTES,
    SECOND_CACHE,
    align_stack,
    constant,
    emitted,
    kept_apart,
    literal,
    load,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.fetching import fetch_weights, places_to_fetch
from ftllm_nb.kernels.matmul_tile import LOADERS, WEIGHT_BYTES
from ftllm_nb.kernels.simd import V_F32
from ftllm_nb.kernels.sums import multiply_add, scaled_sums, sums_are_floats, zero_products

MOST_UNROLLED = 8
"""Groups of at most so many vectors of weights have no inner loop."""
UNROLLED = 4
"""Vectors of one row block in the body of an inner loop."""

SCALES_PREFETCH_BYTES = 256
"""How far ahead a single token's loop fetches scales and zero points, of which there are fewer than weights."""


def load_scales(builder: ir.IRBuilder, address: Any, kind: int) -> Any:
    """The 16 scales of a group, of a type from matmul_tile.py, as float32."""
    return LOADERS[kind](builder, address)


@intrinsic(prefer_literal=True)
def integer_tile(
    typing_context, w, w_stride, scales, zeros, block_stride, x, x_records, x_stride, start, start_stride, out,
    out_stride, columns, following, part, parts, tokens, blocks, bits, apart, group, with_zeros, scale_kind,
):  # fmt: skip
    """out[t, 16·b + l] = start[t, 16·b + l] + Σ over groups of scales · dot, for t < tokens, b < blocks.

    Addresses and strides are in bytes. `w`, `scales`, `zeros`: where the first block's parts begin, from which the next
    block's are `w_stride` and, of scales and zero points, `block_stride` away; `x`, `x_records`: where the first
    token's values and records do, the next token's `x_stride` away. `start` and `out` are float32, and `start` may be a
    bias with stride 0. `columns`: a multiple of `group`. `following`: the address of as many blocks, of which part
    `part` of `parts`, 1 or 2, is fetched meanwhile; the constant 0: nothing is (a single token's loop fetches its own
    weights). `tokens`, `blocks`, `bits`, `apart` (whether `w` has each vector's halves apart, as `lay_apart` leaves
    them), `group` (columns of a group, a multiple of 32, or 0 for all), `with_zeros` and `scale_kind` (a code of
    matmul_tile.py) are constants.
    """
    constants = (tokens, blocks, bits, apart, group, with_zeros, scale_kind)
    tile = _Tile(*map(literal, constants))
    fetches = not isinstance(following, types.IntegerLiteral)
    fetched = (types.int64,) * 3 if fetches else (following, part, parts)
    signature = types.void(*([types.int64] * 13), *fetched, *constants)

    def generate(context: Any, builder: ir.IRBuilder, _: Any, values: Any) -> Any:
        tile.emit(builder, *values[: 16 if fetches else 13])
        return context.get_dummy_value()

    return signature, generate


@emitted(types.void, types.int64, types.int64)
def lay_apart(builder, source, target):
    """Write the lower and the upper four bits of 64 bytes as 64 bytes each."""
    packed = load(builder, source, V_BYTES, 1)
    for half in (0, 1):
        store(builder, _half(builder, packed, half), builder.add(target, _i64(4 * LANES * half)), 1)


class _Tile:
    """Emits one tile; a call's operands are kept as attributes while it does."""

    def __init__(
        self, tokens: int, blocks: int, bits: int, apart: int, group: int, with_zeros: int, scale_kind: int
    ) -> None:
        self.tokens, self.blocks, self.bits, self.apart = tokens, blocks, bits, apart
        self.group, self.with_zeros = group, with_zeros
        self.scale_kind, self.scales_size = scale_kind, LANES * WEIGHT_BYTES[scale_kind]
        self.quads = 8 // bits
        """Quads of columns in a vector of packed weights."""
        self.are_floats = sums_are_floats(bits, group, with_zeros)
        self.reads_starts = bool(with_zeros or not subtracted(bits))
        self.cells = [(token, block) for token in range(tokens) for block in range(blocks)]

    def emit(self, builder: ir.IRBuilder, w: Any, w_stride: Any, scales: Any, zeros: Any, block_stride: Any, x: Any,
             x_records: Any, x_stride: Any, start: Any, start_stride: Any, out: Any, out_stride: Any, columns: Any,
             *fetched: Any) -> None:  # fmt: skip
        self.builder = b = builder
        align_stack(builder)
        groups = b.udiv(columns, _i64(self.group)) if self.group else _i64(1)
        self.block_stride, self.value_bytes = block_stride, self.times(columns, 2 * self.bits)
        self.scale_bytes, self.zero_bytes = self.times(groups, self.scales_size), self.times(groups, LANES)
        self.weights = [b.add(w, self.times(w_stride, block)) for block in range(self.blocks)]
        self.scales = [b.add(scales, self.times(block_stride, block)) for block in range(self.blocks)]
        self.zeros = [b.add(zeros, self.times(block_stride, block)) for block in range(self.blocks)]
        self.fetches = bool(fetched)
        if fetched:
            self.share_out(*fetched)
        self.values = [kept_apart(b, b.add(x, self.times(x_stride, token))) for token in range(self.tokens)]
        self.records = b.sub(x_records, x)
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
        begin = ORIGIN if self.are_floats and not self.reads_starts else 0
        for dot in self.dots.values():
            self.builder.store(constant(I32, begin), dot)
        if not sums_pairs(self.bits):
            self.add_starts(group)
        if isinstance(vectors, int) and vectors <= MOST_UNROLLED:
            self.emit_vectors(self.times(group, vectors), vectors)
        else:
            self.emit_loop(group, vectors)
        if sums_pairs(self.bits):  # not before: registers are few
            self.add_starts(group)
        self.add_group(group)

    def add_starts(self, group: Any) -> None:
        """Add what tokens' dot products begin with."""
        b = self.builder
        if not self.reads_starts:
            return
        for token in range(self.tokens):
            start = load(b, self.of_record(token, group, START), I32, 4)
            for block in range(self.blocks):
                if self.with_zeros:
                    zeros = b.add(self.zeros[block], self.times(group, LANES))
                    first = zero_products(b, zeros, subtracted(self.bits), start, self.group)
                else:
                    first = splat(b, start)
                b.store(b.add(b.load(self.dots[token, block]), first), self.dots[token, block])

    def emit_loop(self, group: Any, vectors: Any) -> None:
        """A loop over the vectors of a group, unrolled in part."""
        b = self.builder
        unrolled = PAIR_QUADS // self.quads if sums_pairs(self.bits) else UNROLLED
        vectors = _i64(vectors) if isinstance(vectors, int) else vectors
        begin = b.mul(group, vectors)
        whole = b.and_(vectors, _i64(-unrolled))
        with cgutils.for_range_slice(b, _i64(0), whole, _i64(unrolled)) as (at, _):
            self.emit_vectors(b.add(begin, at), unrolled)
        if not sums_pairs(self.bits):
            with cgutils.for_range_slice(b, whole, vectors, _i64(1)) as (at, _):
                self.emit_vectors(b.add(begin, at), 1)

    def emit_vectors(self, first: Any, count: int) -> None:
        """The dot products of `count` vectors of each block's weights, from the vector `first` on."""
        if sums_pairs(self.bits):
            for ahead in range(0, count, PAIR_QUADS // self.quads):
                self.emit_pair_dots(first, ahead)
            return
        b = self.builder
        for ahead in range(count):
            self.fetch_vector(first, ahead)
            packed = [self.packed(block, first, ahead) for block in range(self.blocks)]
            for quad in range(self.quads):
                weights = packed
                if self.bits == 4:
                    weights = [self.half(block, packed[block], first, ahead, quad) for block in range(self.blocks)]
                for token in range(self.tokens):
                    values = self.four_values(token, first, self.quads * ahead + quad)
                    for block in range(self.blocks):
                        dot = self.dots[token, block]
                        b.store(emit_dot(b, b.load(dot), weights[block], values, self.bits), dot)

    def emit_pair_dots(self, first: Any, ahead: int) -> None:
        """The dot products of 8 quads with weights of 4 bits, whose sums fit words until the end.

        Registers are few: many tokens keep one quad's weights in them, a single token two quads of its values.
        """
        b = self.builder
        sums: dict[tuple[int, int], Any] = {}
        each = self.blocks if self.tokens > 1 else 1
        together = [range(at, at + each) for at in range(0, self.blocks, each)]
        for vector_ in range(ahead, ahead + PAIR_QUADS // self.quads):
            values: dict[tuple[int, int], Any] = {}
            self.fetch_vector(first, vector_)
            for blocks in together:
                packed = {block: self.packed(block, first, vector_) for block in blocks}
                for quad in range(self.quads):
                    weights = {block: self.half(block, packed[block], first, vector_, quad) for block in blocks}
                    for token in range(self.tokens):
                        if (token, quad) not in values:
                            values[token, quad] = self.four_values(token, first, self.quads * vector_ + quad)
                        for block in blocks:
                            before = sums.get((token, block))
                            sums[token, block] = emit_pairs(b, before, weights[block], values[token, quad])
        for cell, sum_ in sums.items():
            b.store(emit_pair_totals(b, b.load(self.dots[cell]), sum_), self.dots[cell])

    def fetch_vector(self, first: Any, ahead: int) -> None:
        """Fetch what is needed after the products of a vector of each block's weights."""
        if self.tokens == 1:
            following = self.times(self.block_stride, self.blocks)
            offset = self.offset(first, ahead, 4 * LANES)
            for place in places_to_fetch(self.builder, offset, self.value_bytes, following, self.blocks):
                for row in self.weights:
                    fetch_weights(self.builder, self.builder.add(row, place))
        if self.fetches:
            self.fetch_on(self.of_vectors, self.blocks)

    def offset(self, first: Any, ahead: int, size: int) -> Any:
        """Where what is `size` bytes a vector lies that is `ahead` vectors on from the vector `first`: a constant, so
        that instructions' addresses hold it."""
        return self.builder.add(self.times(first, size), _i64(size * ahead))

    def packed(self, block: int, first: Any, ahead: int) -> Any:
        """One vector of a block's weights, unless its halves lie apart."""
        b = self.builder
        if self.apart:
            return None
        return load(b, b.add(self.weights[block], self.offset(first, ahead, 4 * LANES)), V_BYTES, 1)

    def half(self, block: int, packed: Any, first: Any, ahead: int, half: int) -> Any:
        """The lower or upper four bits of each byte of a vector, which `packed` returned."""
        b = self.builder
        if not self.apart:
            return _half(b, packed, half)
        offset = b.add(self.offset(first, ahead, 8 * LANES), _i64(4 * LANES * half))
        return load(b, b.add(self.weights[block], offset), V_BYTES, 1)

    def four_values(self, token: int, first: Any, quad: int) -> Any:
        """Four values of a token, in all lanes: those of a quad of columns, counted from the vector `first` on."""
        b = self.builder
        column = b.add(self.times(first, 4 * self.quads), _i64(4 * quad))
        return b.bitcast(splat(b, load(b, b.add(self.values[token], column), I32, 1)), V_BYTES)

    def fetch_scales(self, rows: list[Any], offset: Any, size: Any) -> None:
        """Prefetch what lies ahead of an offset into rows of `size` bytes; past their end, in the same rows of the
        blocks that are read next."""
        b = self.builder
        ahead = b.add(offset, _i64(SCALES_PREFETCH_BYTES))
        beyond = b.add(b.sub(ahead, size), self.times(self.block_stride, self.blocks))
        ahead = b.select(b.icmp_signed("<", ahead, size), ahead, beyond)
        for row in rows:
            prefetch(b, b.add(row, ahead))

    def add_group(self, group: Any) -> None:
        """Totals += scales · dots of the group that has been walked."""
        b = self.builder
        row = self.times(group, self.scales_size)
        if self.tokens == 1:
            self.fetch_scales(self.scales, row, self.scale_bytes)
            if self.with_zeros:
                self.fetch_scales(self.zeros, self.times(group, LANES), self.zero_bytes)
        if self.fetches:
            self.fetch_on(self.of_groups, -(-self.group_bytes // LINE_BYTES))
        scales = [load_scales(b, b.add(base, row), self.scale_kind) for base in self.scales]
        for token in range(self.tokens):
            scale = splat(b, load(b, self.of_record(token, group, SCALE), F32, 4))
            offset = splat(b, load(b, self.of_record(token, group, OFFSET), F32, 4)) if self.are_floats else None
            for block in range(self.blocks):
                dot, total = b.load(self.dots[token, block]), self.totals[token, block]
                if self.reads_starts and not self.are_floats and not self.with_zeros:
                    dot = b.sub(dot, constant(I32, ORIGIN))
                scaled = scaled_sums(b, dot, scale, offset)
                b.store(multiply_add(b, scaled, scales[block], b.load(total)), total)

    def of_record(self, token: int, group: Any, part: int) -> Any:
        """The address of a part of the record of a token's group."""
        b = self.builder
        begin = b.add(self.records, self.times(group, RECORD_BYTES))
        return b.add(self.values[token], b.add(begin, _i64(part)))

    def place(self, base: Any, stride: Any, token: int, block: int) -> Any:
        offset = self.builder.add(self.times(stride, token), _i64(4 * LANES * block))
        return self.builder.add(base, offset)

    def times(self, value: Any, factor: int) -> Any:
        return self.builder.mul(value, _i64(factor))


def _half(builder: ir.IRBuilder, packed: Any, half: int) -> Any:
    """The lower or upper four bits of each of 64 bytes."""
    if half == 1:
        shifted = builder.lshr(builder.bitcast(packed, V_WORDS), constant(I16, 4, 2 * LANES))
        packed = builder.bitcast(shifted, V_BYTES)
    return builder.and_(packed, constant(I8, 15, 4 * LANES))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)

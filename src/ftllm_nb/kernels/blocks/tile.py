"""The tile of block types: some tokens × some blocks of 16 rows, unit by unit along the columns.

A single token reads units as they lie; several read what scratch.py has unpacked. In a super-block all is whole
numbers, scales and minimums included, until its end:

    total = fma(round(Σ scale · dot · the token's scale), factor, total)
    total = fma(round(Σ minimum · sum of values · the token's scale), −second factor, total)

and a unit of 32 columns is one group, as sums.py says. Each output is one chain along the units, whatever the tile's
shape; so all tiles give equal bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ftllm_nb.kernels.activation_rows import (
    OFFSET,
    ORIGIN,
    SCALE,
    START,
    SUMS_OF_16,
    SUMS_OF_32,
    record_bytes,
)
from ftllm_nb.kernels.blocks.block_type import PART_COLUMNS, PART_QUADS, QUAD, BlockType
from ftllm_nb.kernels.blocks.parts import WORD_BYTES
from ftllm_nb.kernels.blocks.scratch import ScratchLayout
from ftllm_nb.kernels.dot import (
    V_BYTES,
    V_I32,
    V_WORDS,
    emit_dot,
    emit_pairs,
    emit_signed_pairs,
    emit_word_products,
    has_pairs,
)
from ftllm_nb.kernels.emit import (
    F32,
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
    load,
    prefetch,
    splat,
    store,
)
from ftllm_nb.kernels.fetching import fetch_unit, units_to_fetch
from ftllm_nb.kernels.simd import V_F32
from ftllm_nb.kernels.sums import multiply_add, scaled_sums

Cell = tuple[int, int]
FETCHES = 2
"""Lines that a fetching tile asks for with each 32 columns."""


def packed_tile(type: BlockType, tokens: int, blocks: int) -> Any:
    """A function `tile(w, w_stride, x, records, x_stride, start, start_stride, out, out_stride, units)` for kernels: so
    many tokens × blocks, which lie `w_stride` bytes apart, as they are packed.

    `x`, `records`: the first token's values, and their records; `start`, `out`: float32 [16 · blocks] of each token."""
    return _tile_by(type, tokens, blocks, None)


def unpacked_tile(type: BlockType, tokens: int, blocks: int) -> Any:
    """The same for units that are unpacked."""
    return _tile_by(type, tokens, blocks, ScratchLayout(type))


def fetching_tile(type: BlockType, tokens: int, blocks: int) -> Any:
    """The same with two more arguments: the address of what is fetched meanwhile, FETCHES lines with each 32 columns,
    and how many bytes the next line is further."""

    def tile(b, w, w_stride, x, records, x_stride, start, start_stride, out, out_stride, units, following, step):
        whole = _Tile(b, type, tokens, blocks, w_stride, x, records, x_stride, start, start_stride, out, out_stride)
        whole.following, whole.step = following, step
        whole.emit(w, ScratchLayout(type), units)

    return emitted(types.void, *([types.int64] * 12))(tile)


def _tile_by(type: BlockType, tokens: int, blocks: int, layout: ScratchLayout | None) -> Any:
    def tile(b, w, w_stride, x, records, x_stride, start, start_stride, out, out_stride, units):
        whole = _Tile(b, type, tokens, blocks, w_stride, x, records, x_stride, start, start_stride, out, out_stride)
        whole.emit(w, layout, units)

    return emitted(types.void, *([types.int64] * 10))(tile)


class _Tile:
    """Emits one tile."""

    def __init__(self, b: ir.IRBuilder, type: BlockType, tokens: int, blocks: int, w_stride: Any, x: Any, records: Any,
                 x_stride: Any, start: Any, start_stride: Any, out: Any, out_stride: Any) -> None:  # fmt: skip
        self.b, self.type, self.tokens, self.blocks, self.w_stride = b, type, tokens, blocks, w_stride
        align_stack(b)
        self.cells = [(token, block) for token in range(tokens) for block in range(blocks)]
        self.values = [kept_apart(b, b.add(x, self.times(x_stride, token))) for token in range(tokens)]
        self.records = b.sub(records, x)
        self.start, self.start_stride, self.out, self.out_stride = start, start_stride, out, out_stride
        self.dots = {cell: cgutils.alloca_once(b, V_I32) for cell in self.cells}
        self.totals = {cell: cgutils.alloca_once(b, V_F32) for cell in self.cells}
        self.following: Any = None
        self.step: Any = None
        self.kept_scales: list[Any] = []
        self.under_way: dict[tuple[int, Cell], tuple[Any, int]] = {}
        """By group and cell: sums that are no totals yet, and of how many quads."""

    def emit(self, w: Any, layout: ScratchLayout | None, units: Any) -> None:
        """`layout`: of the unpacked units at `w`; None: they are packed."""
        b = self.b
        for cell in self.cells:
            b.store(load(b, self.place(self.start, self.start_stride, cell), V_F32, 4), self.totals[cell])
        size = self.type.unit_bytes if layout is None else layout.size
        if layout is None and self.type.is_super:
            room = ir.ArrayType(V_WORDS, self.type.groups)
            self.kept_scales = [b.ptrtoint(cgutils.alloca_once(b, room), I64) for _ in range(self.blocks)]
        fetched = cgutils.alloca_once_value(b, self.following) if self.following else None
        with cgutils.for_range(b, units) as loop:
            self.unit_values = [b.add(values, self.times(loop.index, self.type.columns)) for values in self.values]
            offset = self.times(loop.index, record_bytes(self.type.middle))
            self.unit_records = [b.add(values, b.add(self.records, offset)) for values in self.values]
            at = self.times(loop.index, size)
            self.begin_dots()
            places = [b.add(w, b.add(at, self.times(self.w_stride, number))) for number in range(self.blocks)]
            if layout is None:
                self.emit_packed(places, at, self.times(units, size))
            else:
                self.emit_unpacked(places, layout, fetched)
        for cell in self.cells:
            store(b, b.load(self.totals[cell]), self.place(self.out, self.out_stride, cell), 4)

    def distances_to_fetch(self, at: Any, within: Any, row_bytes: Any) -> list[Any]:
        """How far from the unit at `at` of a row that lies which is fetched with the chunk at `within` in it."""
        b, following = self.b, self.times(self.w_stride, self.blocks)
        places = units_to_fetch(b, b.add(at, within), row_bytes, following, self.blocks, self.type.is_super)
        return [b.sub(place, at) for place in places]

    def emit_packed(self, units: list[Any], at: Any, row_bytes: Any) -> None:
        """A unit of each block, at `at` in a row of `row_bytes`."""
        b, type = self.b, self.type
        for unit, kept in zip(units, self.kept_scales, strict=False):
            for number, each in enumerate(type.scales(b, unit).each):
                store(b, each, b.add(kept, _i64(WORD_BYTES * number)), 4)
        chunk_bytes, quads = type.unit_bytes // type.chunks, type.chunk_parts * PART_QUADS
        lines = -(-chunk_bytes // LINE_BYTES)

        def chunk(number: Any) -> None:
            distances = self.distances_to_fetch(at, self.times(number, chunk_bytes), row_bytes)
            ahead = [b.add(unit, distance) for distance in distances for unit in units]
            for part in range(type.chunk_parts):
                own = [kept_apart(b, unit) for unit in units]
                # What two parts read is read twice, or registers would have to hold it.

                def numbers(quad: int, part: int = part, own: list[Any] = own) -> Iterator[Any]:
                    done = PART_QUADS * part + quad
                    for place in ahead:
                        for line in range(lines * done // quads, lines * (done + 1) // quads):
                            fetch_unit(b, b.add(place, _i64(LINE_BYTES * line)), type.is_super)
                    return (type.tile_bytes(b, type.numbers(b, unit, number, part, quad)) for unit in own)

                self.emit_part(numbers, self.kept_scales, b.add(self.times(number, type.chunk_parts), _i64(part)))

        self.emit_loop(type.chunks, chunk)
        units = [kept_apart(b, unit) for unit in units]  # for the same reason
        factors = [type.factors(b, unit) for unit in units]
        if type.is_super:
            scales = [type.scales(b, unit) for unit in units]
            self.add_super([each.pairs for each in scales], [each.minimums for each in scales], factors)
        else:
            self.add_single(factors)

    def emit_loop(self, count: int, body: Callable[[Any], None]) -> None:
        if count == 1:
            body(_i64(0))
        else:
            with cgutils.for_range(self.b, _i64(count)) as loop:
                body(loop.index)

    def emit_unpacked(self, units: list[Any], layout: ScratchLayout, fetched: Any) -> None:
        """A unit of some blocks. `fetched`: where the address is kept of what is fetched meanwhile, or None."""
        b, type = self.b, self.type

        def part(number: Any) -> None:
            for _ in range(FETCHES if fetched else 0):
                place = b.load(fetched)
                prefetch(b, place, cache=SECOND_CACHE)
                b.store(b.add(place, self.step), fetched)
            begins = [b.add(unit, self.times(number, layout.numbers(1, 0))) for unit in units]

            def numbers(quad: int) -> list[Any]:
                return [load(b, b.add(begin, _i64(layout.numbers(0, quad))), V_BYTES, 4) for begin in begins]

            self.emit_part(numbers, [b.add(unit, _i64(layout.each)) for unit in units], number)

        self.emit_loop(type.columns // PART_COLUMNS, part)

        def vectors(at: int, end: int) -> list[list[Any]]:
            return [[load(b, b.add(unit, _i64(place)), V_WORDS, 4) for place in range(at, end, WORD_BYTES)]
                    for unit in units]  # fmt: skip

        factors = [
            (
                load(b, b.add(unit, _i64(layout.factor)), V_F32, 4),
                load(b, b.add(unit, _i64(layout.second_factor)), V_F32, 4) if type.has_minimums else None,
            )
            for unit in units
        ]
        if type.is_super:
            pairs, minimums = vectors(layout.pairs, layout.minimums), vectors(layout.minimums, layout.factor)
            self.add_super(pairs, minimums, factors)
        else:
            self.add_single(factors)

    def emit_part(self, numbers: Callable[[int], Iterable[Any]], scales: list[Any], part: Any) -> None:
        """32 columns: `numbers` gives a quad's bytes of each block; `scales`: where those of the units' groups lie."""
        b, type = self.b, self.type
        column, quads = self.times(part, PART_COLUMNS), type.group // QUAD
        groups = PART_QUADS // quads
        for group in range(groups):
            at = b.add(self.times(part, groups * WORD_BYTES), _i64(WORD_BYTES * group))
            places = [b.add(place, at) for place in scales] if type.is_super else [None] * self.blocks
            for within in range(quads):
                values: list[Any] = [None] * self.tokens
                for block, weights in enumerate(numbers(quads * group + within)):
                    for token in range(self.tokens):
                        if block == 0:
                            values[token] = self.four_values(token, column, quads * group + within)
                        self.multiply(group, (token, block), within, weights, values[token], places[block])

    def begin_dots(self) -> None:
        """Set what dot products begin with."""
        b, type = self.b, self.type
        for (token, _), dot in self.dots.items():
            first = constant(I32, 0 if type.is_super else ORIGIN)
            if not type.is_super and type.raised and not type.has_minimums:
                first = splat(b, load(b, self.of_record(token, START), I32, 4))
            b.store(first, dot)

    def multiply(self, group: int, cell: Cell, within: int, weights: Any, values: Any, scale: Any) -> None:
        """Multiply a group's quad number `within`; with the group's last one, sums join the dot products.
        `scale`: the address of the group's, or None."""
        b, type = self.b, self.type
        is_last = within == type.group // QUAD - 1
        before, quads = self.under_way.pop((group, cell), (None, 0))
        if not has_pairs():
            bits = 8 if type.is_signed else 4
            if scale is None:
                b.store(emit_dot(b, b.load(self.dots[cell]), weights, values, bits), self.dots[cell])
                return
            sums = emit_dot(b, constant(I32, 0) if before is None else before, weights, values, bits)
            if is_last:
                by = b.ashr(load(b, scale, V_I32, 4), constant(I32, 16))
                b.store(b.add(b.load(self.dots[cell]), b.mul(sums, by)), self.dots[cell])
                return
        elif type.is_signed:
            sums = emit_signed_pairs(b, weights, values)
            self.add_pairs(cell, sums, scale)
            return
        else:
            sums = emit_pairs(b, before, weights, values)
            if is_last or quads + 1 == type.pair_quads:
                self.add_pairs(cell, sums, scale)
                return
        self.under_way[group, cell] = sums, quads + 1

    def add_pairs(self, cell: Cell, sums: Any, scale: Any) -> None:
        words = constant(I16, 1, 2 * LANES) if scale is None else load(self.b, scale, V_WORDS, 4)
        self.b.store(emit_word_products(self.b, self.b.load(self.dots[cell]), sums, words), self.dots[cell])

    def add_super(self, pairs: list[list[Any]], minimums: list[list[Any]], factors: list[Any]) -> None:
        """Totals += what a super-block's whole numbers stand for, by block."""
        b, type = self.b, self.type
        sums_at = SUMS_OF_16 if type.group == 16 else SUMS_OF_32
        raised = type.raised
        for token in range(self.tokens):
            scale = splat(b, load(b, self.of_record(token, SCALE), F32, 4))
            sums = [
                b.bitcast(splat(b, load(b, self.of_record(token, sums_at + 4 * pair), I32, 4)), V_WORDS)
                for pair in range(type.groups // 2)
            ] if raised or type.has_minimums else []  # fmt: skip
            for block, (factor, second) in enumerate(factors):
                total, dot = self.totals[token, block], b.load(self.dots[token, block])
                if raised:
                    zeros = self.sum_of(pairs[block], sums)
                    dot = b.sub(dot, b.mul(zeros, constant(I32, raised)))
                b.store(multiply_add(b, scaled_sums(b, dot, scale, None), factor, b.load(total)), total)
                if second is not None:
                    lower = scaled_sums(b, self.sum_of(minimums[block], sums), scale, None)
                    b.store(multiply_add(b, lower, b.fneg(second), b.load(total)), total)

    def sum_of(self, words: list[Any], sums: list[Any]) -> Any:
        found: Any = constant(I32, 0)
        for each, sum_ in zip(words, sums, strict=True):
            found = emit_word_products(self.b, found, each, sum_)
        return found

    def add_single(self, factors: list[Any]) -> None:
        """Totals += what a unit that is one group stands for, by block."""
        b = self.b
        for token in range(self.tokens):
            single = load(b, self.of_record(token, SCALE), F32, 4)
            scale, offset = splat(b, single), splat(b, load(b, self.of_record(token, OFFSET), F32, 4))
            for block, (factor, second) in enumerate(factors):
                total = self.totals[token, block]
                scaled = scaled_sums(b, b.load(self.dots[token, block]), scale, offset)
                b.store(multiply_add(b, scaled, factor, b.load(total)), total)
                if second is not None:
                    negative = b.sitofp(load(b, self.of_record(token, START), I32, 4), F32)
                    sum_ = splat(b, b.fmul(b.fneg(negative), single))
                    b.store(multiply_add(b, sum_, second, b.load(total)), total)

    def four_values(self, token: int, column: Any, quad: int) -> Any:
        """Four values of a token, in all lanes."""
        place = self.b.add(self.unit_values[token], self.b.add(column, _i64(QUAD * quad)))
        return self.b.bitcast(splat(self.b, load(self.b, place, I32, 1)), V_BYTES)

    def of_record(self, token: int, part: int) -> Any:
        return self.b.add(self.unit_records[token], _i64(part))

    def place(self, base: Any, stride: Any, cell: Cell) -> Any:
        return self.b.add(base, self.b.add(self.times(stride, cell[0]), _i64(4 * LANES * cell[1])))

    def times(self, value: Any, factor: int) -> Any:
        return self.b.mul(value, _i64(factor))


def _i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)

"""A unit unpacked: its numbers as bytes and its scales as tiles read them, for products with several tokens.

The numbers, `[columns/4][16][4]` bytes; then of super-blocks the scales, as `Scales` has them; then the factors,
float32 [16] each.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ftllm_nb.kernels.blocks.block_type import PART_QUADS, QUAD, BlockType
from ftllm_nb.kernels.blocks.parts import WORD_BYTES
from ftllm_nb.kernels.emit import I64, LINE_BYTES, PREFETCH_BYTES, emitted, prefetch, store


class ScratchLayout:
    """Where the parts of an unpacked unit begin, and its size."""

    def __init__(self, type: BlockType) -> None:
        self.each = WORD_BYTES * (type.columns // QUAD)
        self.pairs = self.each + WORD_BYTES * (type.groups if type.is_super else 0)
        pairs = type.groups // 2 if type.is_super else 0
        self.minimums = self.pairs + WORD_BYTES * (pairs if type.raised else 0)
        self.factor = self.minimums + WORD_BYTES * (pairs if type.has_minimums else 0)
        self.second_factor = self.factor + WORD_BYTES
        self.size = self.second_factor + (WORD_BYTES if type.has_minimums else 0)

    @staticmethod
    def numbers(part: int, quad: int) -> int:
        """Where a quad's bytes are."""
        return WORD_BYTES * (PART_QUADS * part + quad)


def unpacker(type: BlockType) -> Any:
    """A function `unpack(unit, scratch)` for kernels, which also fetches what follows the unit."""
    layout = ScratchLayout(type)

    def unpack(b, unit, scratch):
        def keep(value: Any, at: int) -> None:
            store(b, value, b.add(scratch, ir.Constant(I64, at)), 4)

        for line in range(0, type.unit_bytes, LINE_BYTES):
            prefetch(b, b.add(unit, ir.Constant(I64, PREFETCH_BYTES + line)))
        with cgutils.for_range(b, ir.Constant(I64, type.chunks)) as loop:
            target = b.add(scratch, b.mul(loop.index, ir.Constant(I64, layout.numbers(type.chunk_parts, 0))))
            for part in range(type.chunk_parts):
                for quad in range(PART_QUADS):
                    numbers = type.tile_bytes(b, type.numbers(b, unit, loop.index, part, quad))
                    store(b, numbers, b.add(target, ir.Constant(I64, layout.numbers(part, quad))), 4)
        if type.is_super:
            scales = type.scales(b, unit)
            pairs = scales.pairs if type.raised else []
            for at, vectors in ((layout.each, scales.each), (layout.pairs, pairs), (layout.minimums, scales.minimums)):
                for number, words in enumerate(vectors):
                    keep(words, at + WORD_BYTES * number)
        factor, second = type.factors(b, unit)
        keep(factor, layout.factor)
        if second is not None:
            keep(second, layout.second_factor)

    return emitted(types.void, types.int64, types.int64)(unpack)

"""Q4_K: numbers of 4 bits; eight scales and minimums of 6 bits, of 32 columns each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.blocks.block_type import PART_QUADS, BlockType, Plane, Scales
from ftllm_nb.kernels.blocks.parts import (
    bits,
    both_words,
    floats16,
    packed_scales,
    two_words,
    vector,
)

_NUMBERS, _SCALES, _FACTOR, _SECOND_FACTOR = range(4)


class Q4K(BlockType):
    """See above."""

    name = "Q4_K"
    columns = 256
    planes = (Plane(16, 4, 32), Plane(4, 4, 3), Plane(0, 2, 1), Plane(2, 2, 1))
    float16_at = (0, 2)
    chunk_parts = 2
    largest = 15
    has_minimums = True

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        """The halves of a byte are 32 columns apart."""
        return bits(b, vector(b, unit, self.at(_NUMBERS), quad, chunk, PART_QUADS), 4 * part, 4)

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), floats16(b, unit, self.at(_SECOND_FACTOR))

    def scales(self, b: ir.IRBuilder, unit: Any) -> Scales:
        scales, minimums = packed_scales(b, unit, self.at(_SCALES))
        each = [both_words(b, scales[group // 4], group % 4) for group in range(8)]
        return Scales(each, [], [two_words(b, minimums[pair // 2], 2 * (pair % 2)) for pair in range(4)])


TYPES = (Q4K(),)

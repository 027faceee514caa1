"""Q2_K: numbers of 2 bits; sixteen scales and minimums of 4 bits, of 16 columns each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.blocks.block_type import PART_QUADS, BlockType, Plane, Scales
from ftllm_nb.kernels.blocks.parts import bits, both_words, floats16, two_words, vector

_NUMBERS, _SCALES, _FACTOR, _SECOND_FACTOR = range(4)


class Q2K(BlockType):
    """See above."""

    name = "Q2_K"
    columns = 256
    planes = (Plane(16, 4, 16), Plane(0, 4, 4), Plane(80, 2, 1), Plane(82, 2, 1))
    float16_at = (80, 82)
    chunk_parts = 4
    group = 16
    largest = 3
    has_minimums = True

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        """The quarters of a byte are 32 columns apart."""
        return bits(b, vector(b, unit, self.at(_NUMBERS), quad, chunk, PART_QUADS), 2 * part, 2)

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), floats16(b, unit, self.at(_SECOND_FACTOR))

    def scales(self, b: ir.IRBuilder, unit: Any) -> Scales:
        both = [vector(b, unit, self.at(_SCALES), word) for word in range(4)]
        scales, minimums = ([bits(b, each, first, 4) for each in both] for first in (0, 4))
        each = [both_words(b, scales[group // 4], group % 4) for group in range(16)]
        return Scales(each, [], [two_words(b, minimums[pair // 2], 2 * (pair % 2)) for pair in range(8)])


TYPES = (Q2K(),)

"""Q3_K: numbers of 2 bits and a third one, around 4; sixteen scales of 6 bits around 32, of 16 columns each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.blocks.block_type import PART_QUADS, BlockType, Plane, Scales
from ftllm_nb.kernels.blocks.parts import bits, both_words, floats16, numbered_bit, two_words, vector
from ftllm_nb.kernels.emit import I8, I16, LANES, constant

_NUMBERS, _THIRD, _SCALES, _FACTOR = range(4)


class Q3K(BlockType):
    """See above."""

    name = "Q3_K"
    columns = 256
    planes = (Plane(32, 4, 16), Plane(0, 4, 8), Plane(96, 4, 3), Plane(108, 2, 1))
    float16_at = (108,)
    chunk_parts = 4
    group = 16
    largest = 7
    center = 4

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        """The quarters of a byte are 32 columns apart, and so are the bits of a third one."""
        two = bits(b, vector(b, unit, self.at(_NUMBERS), quad, chunk, PART_QUADS), 2 * part, 2)
        number = b.add(b.shl(b.trunc(chunk, I16), ir.Constant(I16, 2)), ir.Constant(I16, part))
        return b.or_(two, numbered_bit(b, vector(b, unit, self.at(_THIRD), quad), number, 2))

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), None

    def scales(self, b: ir.IRBuilder, unit: Any) -> Scales:
        """Four bits of groups 0 to 7 are lower halves of the first two words, of 8 to 15 upper ones; the third word
        has the other two, of groups 4 apart in each byte."""
        low, high = [vector(b, unit, self.at(_SCALES), word) for word in (0, 1)], vector(b, unit, self.at(_SCALES), 2)
        scales = []
        for run in range(4):
            number = b.or_(bits(b, low[run % 2], run // 2 * 4, 4), bits(b, high, 2 * run, 2, 4))
            scales.append(b.sub(number, constant(I8, 32, 4 * LANES)))
        each = [both_words(b, scales[group // 4], group % 4, True) for group in range(16)]
        return Scales(each, [two_words(b, scales[pair // 2], 2 * (pair % 2), True) for pair in range(8)], [])


TYPES = (Q3K(),)

"""Q6_K: numbers of 4 and 2 bits, around 32; sixteen scales of 8 bits, of 16 columns each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.blocks.block_type import PART_QUADS, BlockType, Plane, Scales
from ftllm_nb.kernels.blocks.parts import bits, both_words, floats16, two_words, vector

_LOW, _HIGH, _SCALES, _FACTOR = range(4)


class Q6K(BlockType):
    """See above."""

    name = "Q6_K"
    columns = 256
    planes = (Plane(0, 4, 32), Plane(128, 4, 16), Plane(192, 4, 4), Plane(208, 2, 1))
    float16_at = (208,)
    chunk_parts = 4
    group = 16
    largest = 63
    center = 32

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        """The lower halves are 64 columns apart, the upper quarters 32."""
        low = vector(b, unit, self.at(_LOW), PART_QUADS * (part % 2) + quad, chunk, 2 * PART_QUADS)
        high = vector(b, unit, self.at(_HIGH), quad, chunk, PART_QUADS)
        return b.or_(bits(b, low, 4 * (part // 2), 4), bits(b, high, 2 * part, 2, 4))

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), None

    def scales(self, b: ir.IRBuilder, unit: Any) -> Scales:
        scales = [vector(b, unit, self.at(_SCALES), word) for word in range(4)]
        each = [both_words(b, scales[group // 4], group % 4, True) for group in range(16)]
        return Scales(each, [two_words(b, scales[pair // 2], 2 * (pair % 2), True) for pair in range(8)], [])


TYPES = (Q6K(),)

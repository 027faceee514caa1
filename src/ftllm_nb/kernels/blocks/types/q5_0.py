"""Q5_0: numbers of 5 bits around 16, a scale for 32 columns."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.blocks.block_type import BlockType, Plane
from ftllm_nb.kernels.blocks.parts import bits, floats16, halves, vector

_NUMBERS, _FIFTH, _FACTOR = range(3)


class Q50(BlockType):
    """See above."""

    name = "Q5_0"
    columns = 32
    planes = (Plane(6, 4, 4), Plane(2, 4, 1, transposes=True), Plane(0, 2, 1))
    float16_at = (0,)
    largest = 31
    center = 16

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        fifth = bits(b, vector(b, unit, self.at(_FIFTH)), quad, 1, 4)
        return b.or_(halves(b, unit, self.at(_NUMBERS), quad), fifth)

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), None


TYPES = (Q50(),)

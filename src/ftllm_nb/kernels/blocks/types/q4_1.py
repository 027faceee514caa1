"""Q4_1: numbers of 4 bits, a scale and a minimum for 32 columns."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.kernels.blocks.block_type import BlockType, Plane
from ftllm_nb.kernels.blocks.parts import floats16, halves

_NUMBERS, _FACTOR, _SECOND_FACTOR = range(3)


class Q41(BlockType):
    """See above."""

    name = "Q4_1"
    columns = 32
    planes = (Plane(4, 4, 4), Plane(0, 2, 1), Plane(2, 2, 1))
    float16_at = (0, 2)
    largest = 15
    has_minimums = True

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        return halves(b, unit, self.at(_NUMBERS), quad)

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), floats16(b, unit, self.at(_SECOND_FACTOR))


TYPES = (Q41(),)

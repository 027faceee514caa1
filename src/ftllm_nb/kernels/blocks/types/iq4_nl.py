"""IQ4_NL: 4 bits are a place in a table, a scale for 32 columns."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.checkpoint.ggml.families.table import IQ4
from ftllm_nb.kernels.blocks.block_type import BlockType, Plane
from ftllm_nb.kernels.blocks.parts import floats16, halves, looked_up

_NUMBERS, _FACTOR = range(2)


class IQ4NL(BlockType):
    """See above."""

    name = "IQ4_NL"
    columns = 32
    planes = (Plane(2, 4, 4), Plane(0, 2, 1))
    float16_at = (0,)
    is_signed = True

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        return looked_up(b, IQ4, halves(b, unit, self.at(_NUMBERS), quad))

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), None


TYPES = (IQ4NL(),)

"""MXFP4: 4 bits are a place in a table, a power of two for 32 columns."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.checkpoint.ggml.families.table import FP4
from ftllm_nb.kernels.blocks.block_type import BlockType, Plane
from ftllm_nb.kernels.blocks.parts import halves, looked_up
from ftllm_nb.kernels.emit import I8, I32, I64, LANES, constant, load
from ftllm_nb.kernels.simd import V_F32, V_I32

_NUMBERS, _EXPONENT = range(2)
_RAISED = tuple(number + 12 for number in FP4)


class MXFP4(BlockType):
    """See above."""

    name = "MXFP4"
    columns = 32
    planes = (Plane(1, 4, 4), Plane(0, 1, 1))
    largest = 24
    center = 12

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        return looked_up(b, _RAISED, halves(b, unit, self.at(_NUMBERS), quad))

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        """2 to the power of a byte − 128, of which the two smallest are no normal numbers."""
        place = b.add(unit, ir.Constant(I64, self.at(_EXPONENT)))
        exponents = b.zext(load(b, place, ir.VectorType(I8, LANES)), V_I32)
        normal = b.shl(b.sub(exponents, constant(I32, 1)), constant(I32, 23))
        small = b.shl(constant(I32, 0x00200000), b.and_(exponents, constant(I32, 1)))
        is_small = b.icmp_unsigned("<", exponents, constant(I32, 2))
        return b.bitcast(b.select(is_small, small, normal), V_F32), None


TYPES = (MXFP4(),)

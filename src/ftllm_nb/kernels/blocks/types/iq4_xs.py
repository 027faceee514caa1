"""IQ4_XS: 4 bits are a place in a table; eight scales of 6 bits around 32, of 32 columns each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.checkpoint.ggml.families.table import IQ4
from ftllm_nb.kernels.blocks.block_type import BlockType, Plane, Scales
from ftllm_nb.kernels.blocks.parts import both_words, floats16, halves, looked_up, two_words
from ftllm_nb.kernels.dot import V_BYTES
from ftllm_nb.kernels.emit import I8, I16, I32, I64, LANES, constant, load
from ftllm_nb.kernels.simd import V_I32

_NUMBERS, _LOW, _HIGH, _FACTOR = range(4)


class IQ4XS(BlockType):
    """See above."""

    name = "IQ4_XS"
    columns = 256
    planes = (Plane(8, 4, 32), Plane(4, 4, 1), Plane(2, 2, 1), Plane(0, 2, 1))
    float16_at = (0,)
    is_signed = True

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        return looked_up(b, IQ4, halves(b, unit, self.at(_NUMBERS), quad, chunk))

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return floats16(b, unit, self.at(_FACTOR)), None

    def scales(self, b: ir.IRBuilder, unit: Any) -> Scales:
        """Of even groups the lower four bits are in lower halves, of odd ones in upper ones; the others two by two."""
        low = load(b, b.add(unit, ir.Constant(I64, self.at(_LOW))), V_I32)
        high = b.zext(load(b, b.add(unit, ir.Constant(I64, self.at(_HIGH))), ir.VectorType(I16, LANES)), V_I32)
        each = []
        for group in range(8):
            four = _field(b, low, 4 * group, 15)
            two = b.shl(_field(b, high, 2 * group, 3), constant(I32, 4))
            each.append(b.sub(b.or_(four, two), constant(I32, 32)))
        four_each = [_side_by_side(b, each[at : at + 4]) for at in (0, 4)]
        doubled = [both_words(b, four_each[group // 4], group % 4, True) for group in range(8)]
        return Scales(doubled, [two_words(b, four_each[pair // 2], pair % 2 * 2, True) for pair in range(4)], [])


def _field(b: ir.IRBuilder, words: Any, first: int, mask: int) -> Any:
    return b.and_(b.lshr(words, constant(I32, first)), constant(I32, mask))


def _side_by_side(b: ir.IRBuilder, numbers: list[Any]) -> Any:
    """The lowest bytes of four int32 of each row in one word."""
    found: Any = constant(I8, 0, 4 * LANES)
    for place, number in enumerate(numbers):
        byte = b.shl(b.and_(number, constant(I32, 255)), constant(I32, 8 * place))
        found = b.or_(found, b.bitcast(byte, V_BYTES))
    return found


TYPES = (IQ4XS(),)

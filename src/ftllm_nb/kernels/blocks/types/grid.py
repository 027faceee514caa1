"""IQ1, IQ2 and IQ3, whose numbers are rows of grids: as places in a table, of 4 bits (checkpoint/ggml/places.py)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ftllm_nb.checkpoint.ggml.places import BYTES, COLUMNS, FACTOR_AT, SCALES_AT, TABLES
from ftllm_nb.kernels.blocks.block_type import BlockType, Plane, Scales
from ftllm_nb.kernels.blocks.parts import both_words, halves, looked_up, two_words, vector
from ftllm_nb.kernels.emit import I64, load
from ftllm_nb.kernels.simd import V_F32

_NUMBERS, _SCALES, _FACTOR = range(3)


class Grid(BlockType):
    """See above."""

    columns = COLUMNS
    planes = (Plane(0, 4, SCALES_AT // 4), Plane(SCALES_AT, 4, 4), Plane(FACTOR_AT, 4, (BYTES - FACTOR_AT) // 4))
    float32_at = (FACTOR_AT,)
    group = 16

    def __init__(self, name: str, table: tuple[int, ...]) -> None:
        self.name, self.center = name, max(table)
        self.largest = 2 * self.center
        raised = tuple(number + self.center for number in table)
        self._table = raised + (0,) * (16 - len(raised))

    def numbers(self, b: ir.IRBuilder, unit: Any, chunk: Any, part: int, quad: int) -> Any:
        return looked_up(b, self._table, halves(b, unit, self.at(_NUMBERS), quad, chunk))

    def factors(self, b: ir.IRBuilder, unit: Any) -> tuple[Any, Any]:
        return load(b, b.add(unit, ir.Constant(I64, self.at(_FACTOR))), V_F32, 4), None

    def scales(self, b: ir.IRBuilder, unit: Any) -> Scales:
        scales = [vector(b, unit, self.at(_SCALES), word) for word in range(4)]
        each = [both_words(b, scales[group // 4], group % 4, True) for group in range(16)]
        return Scales(each, [two_words(b, scales[pair // 2], 2 * (pair % 2), True) for pair in range(8)], [])


TYPES = tuple(Grid(name, table) for name, table in TABLES.items())

"""ScaleByPosition: queries that grow with their position, as in Llama 4 and Ministral 3. fastllm has none."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.apply_logn_attn import lower_factors
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_positions
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class ScaleByPosition(Operator):
    """input · (1 + beta · ln(1 + floor((position + offset) / length))), in place.

    Ministral 3 has an offset of 0 and Llama 4 of 1; `length` is the context from which on attention would get flatter.
    """

    parameters = (
        Parameter("input", Kind.INPLACE),
        Parameter("positionIds", Kind.INPUT, only="positionIds"),
        Parameter("beta", Kind.FLOAT),
        Parameter("length", Kind.FLOAT),
        Parameter("offset", Kind.INT, default=0),
    )

    @staticmethod
    def infer(input: TensorType, positionIds: TensorType, beta: float, length: float, offset: int) -> TensorType:
        require_activation(input, "input")
        require_positions(positionIds, input)
        if length <= 0:
            raise ShapeError(f"length must be above 0, but it is {length:g}")
        if offset < 0:
            raise ShapeError(f"offset must be at least 0, but it is {offset}")
        return input

    @staticmethod
    def reference(
        step: StepContext, input: Array, positionIds: Array, beta: float, length: float, offset: int
    ) -> Array:
        scale = factors(positionIds.astype(np.float32), beta, length, offset)
        return np.asarray(input * scale.reshape(*positionIds.shape, *[1] * (input.ndim - 2)))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        beta, length, offset = (node.attributes[name] for name in ("beta", "length", "offset"))
        (table,) = lowering.position_tables(
            f"ScaleByPosition {beta} {length} {offset}", 1, 1,
            lambda positions: (factors(positions, float(beta), float(length), int(offset))[:, None],),
        )  # fmt: skip
        lower_factors(node, lowering, table)


def factors(positions: Array, beta: float, length: float, offset: int) -> Array:
    """What features are multiplied by: float32 of the positions' shape."""
    steps = np.floor((positions.astype(np.float64) + offset) / length)
    return np.asarray(1 + beta * np.log1p(steps), np.float32)

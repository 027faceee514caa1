"""ApplyLognAttn: features times a factor of their position, which a table holds, as Qwen's first queries are."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_positions
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class ApplyLognAttn(Operator):
    """input · lognAttn[position], in place; `lognAttn` is [positions], and the context ends where it does."""

    parameters = (
        Parameter("input", Kind.INPLACE),
        Parameter("lognAttn", Kind.WEIGHT, embeds=True),
        Parameter("positionIds", Kind.INPUT, only="positionIds"),
    )

    @staticmethod
    def infer(input: TensorType, lognAttn: TensorType, positionIds: TensorType) -> TensorType:
        require_activation(input, "input")
        require_positions(positionIds, input)
        if lognAttn.rank != 1:
            raise ShapeError(f"lognAttn must be [positions], but it has {lognAttn.rank} axes")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, lognAttn: Array, positionIds: Array) -> Array:
        scale = lognAttn[positionIds].reshape(*positionIds.shape, *[1] * (input.ndim - 2))
        return np.asarray(input * scale)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        table = node.inputs["lognAttn"]
        lowering.limit_ids(node.inputs["positionIds"], table.type.size(0))
        lower_factors(node, lowering, lowering.vector([table], [table.type.size(0)]))


def lower_factors(node: LoweredNode, lowering: Lowering, table: int) -> None:
    """A row that multiplies `input` in place by the factors at the address, float32 [positions]."""
    from ftllm_nb.kernels.runs import scale_by_position

    place = lowering.place(node.inputs["input"])
    lowering.add(scale_by_position, place.address, place.stride, features(node.inputs["input"]), table)

"""Cat: put two tensors end to end."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    StepContext,
    require_activation,
    require_axis,
)
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_runs


class Cat(Operator):
    """input0 followed by input1 along an axis; a negative axis counts from the last."""

    parameters = (
        Parameter("input0", Kind.INPUT),
        Parameter("input1", Kind.INPUT),
        Parameter("axis", Kind.INT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input0: TensorType, input1: TensorType, axis: int) -> TensorType:
        require_activation(input0, "input0")
        require_activation(input1, "input1", rank=input0.rank)
        axis = require_axis(input0, axis)
        before, after = input0.shape[:axis], input0.shape[axis + 1 :]
        if input1.shape[:axis] != before or input1.shape[axis + 1 :] != after:
            raise ShapeError(
                f"input0 and input1 must have the same shape but for axis {axis}",
                *input0.shape,
                *input1.shape,
            )
        return input0.with_shape(*before, input0.size(axis) + input1.size(axis), *after)

    @staticmethod
    def reference(step: StepContext, input0: Array, input1: Array, axis: int) -> Array:
        return np.concatenate([input0, input1], axis)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        first, second, target = node.inputs["input0"], node.inputs["input1"], node.outputs["output"]
        axis = int(node.attributes["axis"]) % target.type.rank
        lowering.place(target)  # refuses a second batch
        lower_runs(lowering, first, target, axis)
        lower_runs(lowering, second, target, axis, target_start=first.type.size(axis))

"""Repeat: a tensor several times, end to end."""

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


class Repeat(Operator):
    """input `repeatTimes` times along an axis, end to end; a negative axis counts from the last."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("axis", Kind.INT),
        Parameter("repeatTimes", Kind.INT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, axis: int, repeatTimes: int) -> TensorType:
        require_activation(input, "input")
        axis = require_axis(input, axis)
        if repeatTimes < 1:
            raise ShapeError(f"repeatTimes must be at least 1, but it is {repeatTimes}")
        return input.with_shape(*input.shape[:axis], input.size(axis) * repeatTimes, *input.shape[axis + 1 :])

    @staticmethod
    def reference(step: StepContext, input: Array, axis: int, repeatTimes: int) -> Array:
        return np.concatenate([input] * repeatTimes, axis)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source, target = node.inputs["input"], node.outputs["output"]
        axis = int(node.attributes["axis"]) % target.type.rank
        lowering.place(target)  # refuses more batches
        if axis == 0:  # once: a copy
            axis = 2
        for start in range(0, target.type.size(axis), source.type.size(axis)):
            lower_runs(lowering, source, target, axis, target_start=start)

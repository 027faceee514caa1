"""Add: add a constant."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_floats
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class Add(Operator):
    """input + v, a constant; the input may be a weight."""

    parameters = (
        Parameter("input", Kind.INPUT_OR_WEIGHT),
        Parameter("v", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, v: float) -> TensorType:
        require_floats(input, "input")
        return TensorType(input.shape)

    @staticmethod
    def reference(step: StepContext, input: Array, v: float) -> Array:
        return np.asarray(input + np.float32(v))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import add_constant

        source, target = node.inputs["input"], node.outputs["output"]
        lower_each(lowering, add_constant, source, source, target, float(node.attributes["v"]))

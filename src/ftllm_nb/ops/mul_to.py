"""MulTo: multiply by a tensor in place."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.elementwise import multiply
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_same_shape
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class MulTo(Operator):
    """input0 *= input1, element by element, both of the same shape."""

    parameters = (Parameter("input0", Kind.INPLACE), Parameter("input1", Kind.INPUT))

    @staticmethod
    def infer(input0: TensorType, input1: TensorType) -> TensorType:
        require_same_shape(input0, input1)
        return input0

    @staticmethod
    def reference(step: StepContext, input0: Array, input1: Array) -> Array:
        return input0 * input1

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_each(lowering, multiply, node.inputs["input0"], node.inputs["input1"], node.outputs["input0"])

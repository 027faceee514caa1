"""MulTo: multiply by a tensor in place."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.operands import lower_operand, require_operand, spread_operand


class MulTo(Operator):
    """input0 *= input1.

    input1 has input0's shape or that of its first axes, [.., F] with [.., 1]; or it is a weight: a vector of the last
    axis, which fastllm cannot take, or one number.
    """

    parameters = (Parameter("input0", Kind.INPLACE), Parameter("input1", Kind.INPUT_OR_WEIGHT))

    @staticmethod
    def infer(input0: TensorType, input1: TensorType) -> TensorType:
        require_operand(input0, input1)
        return input0

    @staticmethod
    def reference(step: StepContext, input0: Array, input1: Array) -> Array:
        return np.asarray(input0 * spread_operand(input0, input1))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import multiply
        from ftllm_nb.kernels.runs import multiply_shared_number, multiply_shared_vector

        lower_operand(node, lowering, multiply, multiply_shared_number, multiply_shared_vector, 1.0)

"""AddTo: add a tensor in place."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.operands import lower_operand, require_operand, spread_operand


class AddTo(Operator):
    """input0 += alpha · input1.

    input1 has input0's shape or that of its first axes, [.., F] with [.., 1]; or it is a weight: a vector of the last
    axis, or one number. In fastllm both have the same shape.
    """

    parameters = (
        Parameter("input0", Kind.INPLACE),
        Parameter("input1", Kind.INPUT_OR_WEIGHT),
        Parameter("alpha", Kind.FLOAT, default=1.0),
    )

    @staticmethod
    def infer(input0: TensorType, input1: TensorType, alpha: float) -> TensorType:
        require_operand(input0, input1)
        return input0

    @staticmethod
    def reference(step: StepContext, input0: Array, input1: Array, alpha: float) -> Array:
        return np.asarray(input0 + np.float32(alpha) * spread_operand(input0, input1))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import add_scaled
        from ftllm_nb.kernels.runs import add_shared_number, add_shared_vector

        alpha = float(node.attributes["alpha"])
        lower_operand(node, lowering, add_scaled, add_shared_number, add_shared_vector, alpha)

"""AddTo: add a tensor in place."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.elementwise import add_scaled
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_same_shape
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class AddTo(Operator):
    """input0 += alpha · input1, both of the same shape."""

    parameters = (
        Parameter("input0", Kind.INPLACE),
        Parameter("input1", Kind.INPUT),
        Parameter("alpha", Kind.FLOAT, default=1.0),
    )

    @staticmethod
    def infer(input0: TensorType, input1: TensorType, alpha: float) -> TensorType:
        require_same_shape(input0, input1)
        return input0

    @staticmethod
    def reference(step: StepContext, input0: Array, input1: Array, alpha: float) -> Array:
        return np.asarray(input0 + np.float32(alpha) * input1)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        first, second = node.inputs["input0"], node.inputs["input1"]
        lower_each(
            lowering, add_scaled, first, second, node.outputs["input0"], float(node.attributes["alpha"])
        )

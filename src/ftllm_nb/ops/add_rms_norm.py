"""AddRMSNorm: AddTo on the residual and RMSNorm of the sum in one pass. Made by fusion."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.elementwise import add_rms_norm
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features
from ftllm_nb.ops.rms_norm import RMSNorm


class AddRMSNorm(Operator):
    """input0 += alpha · input1, in place; output = RMSNorm(input0)."""

    public = False
    parameters = (
        Parameter("input0", Kind.INPLACE),
        Parameter("input1", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT),
        Parameter("eps", Kind.FLOAT),
        Parameter("alpha", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(
        input0: TensorType, input1: TensorType, weight: TensorType, eps: float, alpha: float
    ) -> tuple[TensorType, TensorType]:
        return input0, input0

    @staticmethod
    def reference(
        step: StepContext, input0: Array, input1: Array, weight: Array, eps: float, alpha: float
    ) -> tuple[Array, Array]:
        total = np.asarray(input0 + np.float32(alpha) * input1)
        return total, RMSNorm.reference(step, total, weight, eps)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source = node.inputs["input0"]
        total, added = lowering.place(source), lowering.place(node.inputs["input1"])
        written, size = lowering.place(node.outputs["output"]), source.type.size(-1)
        lowering.add(
            add_rms_norm, total.address, total.stride, written.address, written.stride,
            lowering.vector([node.inputs["weight"]], [size]), size, features(source) // size,
            float(node.attributes["eps"]), lowering.count(source), added.address, added.stride,
            float(node.attributes["alpha"]),
        )  # fmt: skip

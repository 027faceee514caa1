"""AddRMSNorm: AddTo on the residual and RMSNorm of the sum in one pass. Made by fusion."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.add_to import AddTo
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_same_shape
from ftllm_nb.ops.fusion import Part, Pattern
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.rms_norm import RMSNorm, lower_norm
from ftllm_nb.quant.activations import Int8Form


class AddRMSNorm(Operator):
    """input0 += alpha · input1, in place; output = RMSNorm(input0)."""

    public = False
    fuses = (
        Pattern(
            (Part(AddTo, writes={"input0": "sum"}), Part(RMSNorm, reads={"input": "sum"})),
            at=0,
            writes={"input0": "sum"},
        ),
    )
    parameters = (
        Parameter("input0", Kind.INPLACE),
        Parameter("input1", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, may_be_none=True),
        Parameter("eps", Kind.FLOAT),
        Parameter("alpha", Kind.FLOAT),
        Parameter("offset", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT, forms=(Int8Form,)),
    )

    @staticmethod
    def infer(
        input0: TensorType, input1: TensorType, weight: TensorType | None, eps: float, alpha: float, offset: float
    ) -> tuple[TensorType, TensorType]:
        require_same_shape(input0, "input0", input1, "input1")
        return input0, input0

    @staticmethod
    def reference(
        step: StepContext, input0: Array, input1: Array, weight: Array | None, eps: float, alpha: float, offset: float
    ) -> tuple[Array, Array]:
        total = np.asarray(input0 + np.float32(alpha) * input1)
        return total, RMSNorm.reference(step, total, weight, eps, offset)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import add_rms_norm
        from ftllm_nb.kernels.quantize import add_rms_norm_quantize

        added = lowering.place(node.inputs["input1"])
        arguments = added.address, added.stride, float(node.attributes["alpha"])
        lower_norm(node, lowering, node.inputs["input0"], add_rms_norm, add_rms_norm_quantize, arguments)

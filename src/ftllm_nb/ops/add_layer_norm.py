"""AddLayerNorm: AddTo on the residual and LayerNorm of the sum in one pass. Made by fusion."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.add_to import AddTo
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_same_shape
from ftllm_nb.ops.fusion import Part, Pattern
from ftllm_nb.ops.layer_norm import LayerNorm, lower_layer_norm
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.quant.activations import Int8Form


class AddLayerNorm(Operator):
    """input0 += alpha · input1, in place; output = LayerNorm(input0)."""

    public = False
    fuses = (
        Pattern(
            (Part(AddTo, writes={"input0": "sum"}), Part(LayerNorm, reads={"input": "sum"})),
            at=0,
            writes={"input0": "sum"},
        ),
    )
    parameters = (
        Parameter("input0", Kind.INPLACE),
        Parameter("input1", Kind.INPUT),
        Parameter("gamma", Kind.WEIGHT, may_be_none=True),
        Parameter("beta", Kind.WEIGHT, may_be_none=True),
        Parameter("axis", Kind.INT),
        Parameter("eps", Kind.FLOAT),
        Parameter("alpha", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT, forms=(Int8Form,)),
    )

    @staticmethod
    def infer(
        input0: TensorType, input1: TensorType, gamma: TensorType | None, beta: TensorType | None, axis: int,
        eps: float, alpha: float,
    ) -> tuple[TensorType, TensorType]:  # fmt: skip
        require_same_shape(input0, "input0", input1, "input1")
        return input0, input0

    @staticmethod
    def reference(
        step: StepContext, input0: Array, input1: Array, gamma: Array | None, beta: Array | None, axis: int,
        eps: float, alpha: float,
    ) -> tuple[Array, Array]:  # fmt: skip
        total = np.asarray(input0 + np.float32(alpha) * input1)
        return total, LayerNorm.reference(step, total, gamma, beta, axis, eps)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        added = lowering.place(node.inputs["input1"])
        alpha = float(node.attributes["alpha"])
        lower_layer_norm(node, lowering, node.inputs["input0"], (added.address, added.stride, alpha))

"""SoftCap: keep values between two bounds, smoothly, as Gemma 2 does with its logits."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class SoftCap(Operator):
    """cap · tanh(input / cap); `output` may be `input`."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("cap", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, cap: float) -> TensorType:
        require_activation(input, "input")
        if cap <= 0:
            raise ShapeError(f"cap must be above 0, but it is {cap:g}")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, cap: float) -> Array:
        return np.asarray(np.float32(cap) * np.tanh(input / np.float32(cap)))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import soft_cap

        source = node.inputs["input"]
        lower_each(lowering, soft_cap, source, source, node.outputs["output"], float(node.attributes["cap"]))

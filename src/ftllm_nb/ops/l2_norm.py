"""L2Norm: divide by the root of the sum of squares."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class L2Norm(Operator):
    """input / sqrt(Σ input² + eps) over the last axis; `output` may be `input`. fastllm's KimiK3L2Norm."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("eps", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, eps: float) -> TensorType:
        require_activation(input, "input")
        if eps < 0:
            raise ShapeError(f"eps must be at least 0, but it is {eps:g}")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, eps: float) -> Array:
        squares = np.sum(np.square(input), axis=-1, keepdims=True)
        return np.asarray(input / np.sqrt(squares + np.float32(eps)))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.recurrent_parts import L2_NORM, l2_norm

        source = node.inputs["input"]
        size = source.type.size(-1)
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        fields = L2_NORM.values(
            input=read.address, input_stride=read.stride, output=written.address, output_stride=written.stride,
            size=size, groups=features(source) // size, eps=float(node.attributes["eps"]),
            count=lowering.count(source),
        )  # fmt: skip
        lowering.add(l2_norm, *fields)

"""MatchMagnitude: features as large as another tensor's (Gemma 3n)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class MatchMagnitude(Operator):
    """input · sqrt(mean(like²)) / sqrt(max(mean(input²), eps)) over each token's features; `output` may be `input`."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("like", Kind.INPUT),
        Parameter("eps", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, like: TensorType, eps: float) -> TensorType:
        require_activation(input, "input", rank=3)
        require_activation(like, "like", rank=3)
        if input.shape != like.shape:
            raise ShapeError("input and like must have the same shape", *input.shape, *like.shape)
        if eps <= 0:
            raise ShapeError(f"eps must be above 0, but it is {eps:g}")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, like: Array, eps: float) -> Array:
        own, other = (np.mean(np.square(each), axis=-1, keepdims=True) for each in (input, like))
        return np.asarray(input * (np.sqrt(other) / np.sqrt(np.maximum(own, np.float32(eps)))))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.magnitudes import match_magnitude

        source = node.inputs["input"]
        read, like, written = (lowering.place(each) for each in (source, node.inputs["like"], node.outputs["output"]))
        lowering.add(
            match_magnitude, read.address, read.stride, like.address, like.stride, written.address, written.stride,
            source.type.size(-1), lowering.count(source), float(node.attributes["eps"]),
        )  # fmt: skip

"""GaussianTopK: the largest features, as many as a normal distribution has above a cut (Gemma 3n)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class GaussianTopK(Operator):
    """max(input − (mean + multiplier · standard deviation), 0) over each token's features; `output` may be `input`.

    `multiplier` is the quantile of the normal distribution for the part of features that become 0.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("multiplier", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, multiplier: float) -> TensorType:
        require_activation(input, "input", rank=3)
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, multiplier: float) -> Array:
        cut = input.mean(-1, keepdims=True) + np.float32(multiplier) * input.std(-1, keepdims=True)
        return np.asarray(np.maximum(input - cut, np.float32(0)))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.magnitudes import cut_below

        source = node.inputs["input"]
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        lowering.add(
            cut_below, read.address, read.stride, 0, 0, written.address, written.stride, source.type.size(-1),
            lowering.count(source), float(node.attributes["multiplier"]),
        )  # fmt: skip

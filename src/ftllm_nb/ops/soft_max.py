"""SoftMax: numbers to shares that add up to 1."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_axis
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class SoftMax(Operator):
    """e^(x − max x) / Σ e^(x − max x) over the last axis; `output` may be `input`, `axis` must be the last one.

    Every row adds up to 1. In fastllm, rows whose numbers all lie below about −21 do not.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("output", Kind.OUTPUT),
        Parameter("axis", Kind.INT, default=-1),
    )

    @staticmethod
    def infer(input: TensorType, axis: int = -1) -> TensorType:
        require_activation(input, "input")
        if require_axis(input, axis) != input.rank - 1:
            raise ShapeError(f"axis must be the last one, −1, but it is {axis}")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, axis: int = -1) -> Array:
        powers = np.exp(input - np.max(input, axis=-1, keepdims=True))
        return np.asarray(powers / np.sum(powers, axis=-1, keepdims=True))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.runs import softmax

        source = node.inputs["input"]
        read, written, size = lowering.place(source), lowering.place(node.outputs["output"]), source.type.size(-1)
        lowering.add(
            softmax, read.address, read.stride, written.address, written.stride, size, features(source) // size,
            lowering.count(source),
        )  # fmt: skip

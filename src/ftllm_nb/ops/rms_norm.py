"""RMSNorm: divide by the root of the mean square, multiply by a weight (Zhang and Sennrich, 2019)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.kernels.elementwise import rms_norm
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    StepContext,
    require_activation,
    require_vector,
)
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Tensor, features


class RMSNorm(Operator):
    """input / sqrt(mean(input²) + eps) · weight over the last axis; `output` may be `input`."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT),
        Parameter("eps", Kind.FLOAT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType, eps: float) -> TensorType:
        require_activation(input, "input")
        if eps < 0:
            raise ShapeError(f"eps must be at least 0, but it is {eps:g}")
        require_vector(weight, "weight", input.size(-1))
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array, eps: float) -> Array:
        mean_square = np.mean(np.square(input), axis=-1, keepdims=True)
        return np.asarray(input / np.sqrt(mean_square + np.float32(eps)) * weight)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lowering.add(rms_norm, *norm_arguments(node, lowering, node.inputs["input"]))


def norm_arguments(node: LoweredNode, lowering: Lowering, source: Tensor) -> tuple[int | float, ...]:
    """The arguments that all kernels of norms share: of the norm of `source` into `node`'s output."""
    size = source.type.size(-1)
    read, written = lowering.place(source), lowering.place(node.outputs["output"])
    return (
        read.address, read.stride, written.address, written.stride,
        lowering.vector([node.inputs["weight"]], [size]), size, features(source) // size,
        float(node.attributes["eps"]), lowering.count(source),
    )  # fmt: skip


def sum_arguments(node: LoweredNode, lowering: Lowering) -> tuple[int | float, ...]:
    """The arguments after those for kernels that add to the input first."""
    added = lowering.place(node.inputs["input1"])
    return added.address, added.stride, float(node.attributes["alpha"])

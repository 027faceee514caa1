"""Swiglu: the gate and the product of a gated feed-forward layer in one pass (Shazeer, 2020)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.kernels.elementwise import silu_multiply
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features
from ftllm_nb.ops.silu import silu


class Swiglu(Operator):
    """silu(first half) · second half of the last axis: [.., 2 n] to [.., n]."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        require_activation(input, "input")
        features = input.size(-1)
        if features % 2:
            raise ShapeError(f"input must have an even number of features, but it has {features}", features)
        return input.with_shape(*input.shape[:-1], features // 2)

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        gate, up = np.split(input, 2, axis=-1)
        return np.asarray(silu(gate) * up)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source, target = node.inputs["input"], node.outputs["output"]
        read, written = lowering.place(source), lowering.place(target)
        last = target.type.size(-1)
        for run in range(features(target) // last):
            gate = read.address + run * 2 * last * 4
            lowering.add(
                silu_multiply, gate, read.stride, gate + last * 4, read.stride,
                written.address + run * last * 4, written.stride, last, lowering.count(source), 1.0,
            )  # fmt: skip

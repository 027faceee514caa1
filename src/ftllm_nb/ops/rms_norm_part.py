"""RMSNormPart: RMSNorm of a part of the last axis."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_vector
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features, lower_runs
from ftllm_nb.ops.rms_norm import RMSNorm


class RMSNormPart(Operator):
    """RMSNorm of the features start … end − 1 of the last axis, the others copied; `output` may be `input`.

    `weight` is [end − start].
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT),
        Parameter("eps", Kind.FLOAT),
        Parameter("start", Kind.INT),
        Parameter("end", Kind.INT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType, eps: float, start: int, end: int) -> TensorType:
        require_activation(input, "input")
        if eps < 0:
            raise ShapeError(f"eps must be at least 0, but it is {eps:g}")
        size = input.size(-1)
        if not 0 <= start < end <= size:
            raise ShapeError(
                f"start {start} and end {end} must be within the last axis: 0 ≤ start < end ≤ {size}", size
            )
        require_vector(weight, "weight", end - start)
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array, eps: float, start: int, end: int) -> Array:
        normalized = RMSNorm.reference(step, input[..., start:end], weight, eps)
        return np.concatenate([input[..., :start], normalized, input[..., end:]], axis=-1)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """A copy of all, then a row for each run of the last axis."""
        from ftllm_nb.kernels.elementwise import rms_norm

        source, target = node.inputs["input"], node.outputs["output"]
        start, part, size = int(node.attributes["start"]), node.inputs["weight"].type.size(0), source.type.size(-1)
        lower_runs(lowering, source, target, source.type.rank - 1)
        read, written = lowering.place(source), lowering.place(target)
        weight = lowering.vector([node.inputs["weight"]], [part])
        for run in range(features(source) // size):
            offset = 4 * (run * size + start)
            lowering.add(
                rms_norm, read.address + offset, read.stride, written.address + offset, written.stride, weight, part, 1,
                float(node.attributes["eps"]), lowering.count(source),
            )  # fmt: skip

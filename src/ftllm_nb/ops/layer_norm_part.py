"""LayerNormPart: LayerNorm of a part of the last axis, in place."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.kernels.elementwise import layer_norm
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.layer_norm import LayerNorm
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class LayerNormPart(Operator):
    """LayerNorm of the features start … end − 1 of [1, tokens, features], in place; the others stay.

    gamma and beta are [end − start], or None. So heads that lie side by side can have weights of their own.
    """

    parameters = (
        Parameter("input", Kind.INPLACE),
        Parameter("gamma", Kind.WEIGHT, may_be_none=True),
        Parameter("beta", Kind.WEIGHT, may_be_none=True),
        Parameter("start", Kind.INT),
        Parameter("end", Kind.INT),
        Parameter("eps", Kind.FLOAT, default=1e-5),
    )

    @staticmethod
    def infer(
        input: TensorType, gamma: TensorType | None, beta: TensorType | None, start: int, end: int, eps: float
    ) -> TensorType:
        require_activation(input, "input", rank=3)
        size = input.size(-1)
        if not 0 <= start < end <= size:
            raise ShapeError(f"start {start} and end {end} must be within the axis: 0 ≤ start < end ≤ {size}", size)
        LayerNorm.infer(input.with_shape(*input.shape[:-1], end - start), gamma, beta, -1, eps)
        return input

    @staticmethod
    def reference(
        step: StepContext, input: Array, gamma: Array | None, beta: Array | None, start: int, end: int, eps: float
    ) -> Array:
        part = LayerNorm.reference(step, input[..., start:end], gamma, beta, -1, eps)
        return np.concatenate([input[..., :start], part, input[..., end:]], axis=-1)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source, gamma, beta = node.inputs["input"], node.inputs.get("gamma"), node.inputs.get("beta")
        start, end = int(node.attributes["start"]), int(node.attributes["end"])
        place, size = lowering.place(source), end - start
        address = place.address + 4 * start
        lowering.add(
            layer_norm, address, place.stride, address, place.stride,
            lowering.vector([gamma], [size], 1.0 if gamma is None else 0.0), size, 1,
            float(node.attributes["eps"]), lowering.count(source), lowering.vector([beta], [size]),
        )  # fmt: skip

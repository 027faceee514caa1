"""LayerNorm: subtract the mean, divide by the standard deviation, scale and shift (Ba et al., 2016)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.kernels.elementwise import layer_norm
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    StepContext,
    require_activation,
    require_axis,
    require_vector,
)
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class LayerNorm(Operator):
    """(input − mean) / sqrt(variance + eps) · gamma + beta over the last axis; `output` may be `input`.

    Without gamma or beta, None, nothing is multiplied or added. `axis` must be the last one; `eps` is as transformers
    has it, where fastllm's is fixed.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("gamma", Kind.WEIGHT, may_be_none=True),
        Parameter("beta", Kind.WEIGHT, may_be_none=True),
        Parameter("axis", Kind.INT),
        Parameter("output", Kind.OUTPUT),
        Parameter("eps", Kind.FLOAT, default=1e-5, is_extra=True),
    )

    @staticmethod
    def infer(
        input: TensorType, gamma: TensorType | None, beta: TensorType | None, axis: int, eps: float
    ) -> TensorType:
        require_activation(input, "input")
        if eps < 0:
            raise ShapeError(f"eps must be at least 0, but it is {eps:g}")
        if require_axis(input, axis) != input.rank - 1:
            raise ShapeError(f"axis must be the last one, −1, but it is {axis}")
        for weight, name in ((gamma, "gamma"), (beta, "beta")):
            if weight is not None:
                require_vector(weight, name, input.size(-1))
        return input

    @staticmethod
    def reference(
        step: StepContext, input: Array, gamma: Array | None, beta: Array | None, axis: int, eps: float
    ) -> Array:
        centred = input - np.mean(input, axis=-1, keepdims=True)
        variance = np.mean(np.square(centred), axis=-1, keepdims=True)
        normalized = centred / np.sqrt(variance + np.float32(eps))
        scaled = normalized if gamma is None else normalized * gamma
        return np.asarray(scaled if beta is None else scaled + beta)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source, gamma, beta = node.inputs["input"], node.inputs.get("gamma"), node.inputs.get("beta")
        size = source.type.size(-1)
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        lowering.add(
            layer_norm, read.address, read.stride, written.address, written.stride,
            lowering.vector([gamma], [size], 1.0 if gamma is None else 0.0), size, features(source) // size,
            float(node.attributes["eps"]), lowering.count(source), lowering.vector([beta], [size]),
        )  # fmt: skip

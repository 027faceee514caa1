"""Linear: a matrix product with a weight of the checkpoint."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import (
    Array,
    Kind,
    Operator,
    Parameter,
    StepContext,
    require_activation,
    require_vector,
)


class Linear(Operator):
    """input · weightᵀ + bias: `weight` is [out features, in features], `bias` [out features] or absent."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, may_be_embedding=True),
        Parameter("bias", Kind.OPTIONAL_WEIGHT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType, bias: TensorType | None) -> TensorType:
        require_activation(input, "input")
        if weight.rank != 2:
            raise ShapeError(f"weight must be [out features, in features], but it has {weight.rank} axes")
        out_features, in_features = weight.size(0), weight.size(1)
        if in_features != input.shape[-1]:
            raise ShapeError(
                f"weight takes {in_features} features, but input has {input.size(-1)}",
                in_features,
                input.size(-1),
            )
        if bias is not None:
            require_vector(bias, "bias", out_features)
        return input.with_shape(*input.shape[:-1], out_features)

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array, bias: Array | None) -> Array:
        product = np.matmul(input, weight.T)
        return np.asarray(product if bias is None else product + bias)

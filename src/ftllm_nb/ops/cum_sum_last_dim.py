"""CumSumLastDim: running sums."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, features


class CumSumLastDim(Operator):
    """Each number along the last axis becomes the sum of those up to it, in place."""

    parameters = (Parameter("input", Kind.INPLACE),)

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        require_activation(input, "input", None if input.rank > 3 else 3)
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.cumsum(input, axis=-1, dtype=np.float32)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.recurrent_parts import RUNNING_SUM, running_sum

        place, source = lowering.place(node.inputs["input"]), node.inputs["input"]
        size = source.type.size(-1)
        fields = RUNNING_SUM.values(
            place=place.address, stride=place.stride, size=size, groups=features(source) // size,
            count=lowering.count(source),
        )  # fmt: skip
        lowering.add(running_sum, *fields)

"""Flatten: put the heads back side by side."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class Flatten(Operator):
    """Join the axes after the tokens to one, in place: [1, tokens, heads, headDim] to [1, tokens, heads · headDim].

    ExpandHead's inverse. fastllm has no such operator.
    """

    parameters = (Parameter("input", Kind.INPLACE),)

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        require_activation(input, "input")
        size = 1
        for axis in range(2, input.rank):
            size *= input.size(axis)
        return input.with_shape(*input.shape[:2], size)

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return input.reshape(*input.shape[:2], -1)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """Nothing to do: they lie side by side already."""

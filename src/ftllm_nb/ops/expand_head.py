"""ExpandHead: split the last axis into heads."""

from __future__ import annotations

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class ExpandHead(Operator):
    """Reshape the last axis to [heads, headDim], in place."""

    json_type = "ExpandHeads"
    parameters = (Parameter("input", Kind.INPLACE), Parameter("headDim", Kind.INT))

    @staticmethod
    def infer(input: TensorType, headDim: int) -> TensorType:
        require_activation(input, "input")
        features = input.size(-1)
        if headDim < 1 or features % headDim:
            raise ShapeError(
                f"headDim {headDim} does not divide the input's {features} features", features, headDim
            )
        return input.with_shape(*input.shape[:-1], features // headDim, headDim)

    @staticmethod
    def reference(step: StepContext, input: Array, headDim: int) -> Array:
        return input.reshape(*input.shape[:-1], -1, headDim)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """Nothing to do: the heads lie side by side already."""

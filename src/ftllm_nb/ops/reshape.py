"""Reshape: each token's features in another shape."""

from __future__ import annotations

import math

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class Reshape(Operator):
    """Give the axes after the tokens the sizes `shape`, in place: [1, tokens, .., ..] to [1, tokens, *shape].

    −1 may stand for one size. fastllm has it only inside of models.
    """

    parameters = (Parameter("input", Kind.INPLACE), Parameter("shape", Kind.INTS))

    @staticmethod
    def infer(input: TensorType, shape: tuple[int, ...]) -> TensorType:
        require_activation(input, "input")
        total = math.prod(input.size(axis) for axis in range(2, input.rank))
        known = math.prod(size for size in shape if size != -1)
        wrong = not shape or shape.count(-1) > 1 or any(size < 1 and size != -1 for size in shape)
        if wrong or total % known or (-1 not in shape and total != known):
            raise ShapeError(f"a token's {total} features cannot have the shape {list(shape)}", total, *shape)
        return input.with_shape(*input.shape[:2], *(total // known if size == -1 else size for size in shape))

    @staticmethod
    def reference(step: StepContext, input: Array, shape: tuple[int, ...]) -> Array:
        return input.reshape(*input.shape[:2], *shape)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """Nothing to do: the features lie as they are to."""

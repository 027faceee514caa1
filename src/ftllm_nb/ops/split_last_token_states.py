"""SplitLastTokenStates: keep only the tokens whose logits are wanted."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, Symbol, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class SplitLastTokenStates(Operator):
    """The last tokens of each sequence whose logits are wanted, one or more or none: [1, tokens, n] to [1, rows, n]."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("seqLens", Kind.INPUT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, seqLens: TensorType) -> TensorType:
        require_activation(input, "input")
        if input.shape[:2] != (1, Symbol.TOKENS):
            raise ShapeError("input must begin with [1, tokens]")
        if seqLens.shape != (Symbol.SEQUENCES,):
            raise ShapeError('seqLens must be data["seqLens"]')
        return input.with_shape(1, Symbol.ROWS, *input.shape[2:])

    @staticmethod
    def reference(step: StepContext, input: Array, seqLens: Array) -> Array:
        ends = zip(np.cumsum(seqLens), step.wants_logits, strict=True)
        return input[:, np.concatenate([np.arange(end - count, end) for end, count in ends])]

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.elementwise import gather_rows

        lower_each(lowering, gather_rows, node.inputs["input"], node.inputs["input"], node.outputs["output"])

"""EmbeddingDirect: rows of a table beside the token embedding."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.embedding import Embedding, lower_embedding
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class EmbeddingDirect(Operator):
    """Rows of `weight` [rows, features] by token id, as Embedding: of a table that need not be the model's embedding.

    Its sizes are not compared with the config, and ids beyond its rows take row 0.
    """

    parameters = (
        Parameter("input", Kind.INPUT, only="inputIds"),
        Parameter("weight", Kind.WEIGHT, embeds=True),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType) -> TensorType:
        return Embedding.infer(input, weight)

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array) -> Array:
        return np.asarray(weight[np.where(input < len(weight), input, 0)])

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_embedding(node, lowering)

"""Embedding: rows of a table by token id."""

from __future__ import annotations

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class Embedding(Operator):
    """Rows of `weight` [vocabulary, features] by token id: [1, tokens] int32 to [1, tokens, features]."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, sizes=("vocab_size", "hidden_size"), embeds=True),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType) -> TensorType:
        if input.dtype != "int32":
            raise ShapeError(f"input must be token ids (inputIds), but it holds {input.dtype}")
        if input.rank != 2:
            raise ShapeError('input must be data["inputIds"] or data["positionIds"]')
        if weight.rank != 2:
            raise ShapeError(f"weight must have shape [vocabulary, features], but it has {weight.rank} axes")
        return TensorType((*input.shape, weight.shape[1]))

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array) -> Array:
        return weight[input]

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lowering.limit_ids(node.inputs["input"], node.inputs["weight"].type.size(0))
        lower_embedding(node, lowering)


def lower_embedding(node: LoweredNode, lowering: Lowering) -> None:
    """A row that copies rows of the weight; ids beyond it take row 0."""
    from ftllm_nb.kernels.step import STEP_POSITIONS, STEP_TOKEN_IDS

    ids, weight = node.inputs["input"], node.inputs["weight"]
    packed, out = lowering.weight([weight]), lowering.place(node.outputs["output"])
    ids_field = {"inputIds": STEP_TOKEN_IDS, "positionIds": STEP_POSITIONS}[ids.name]
    lowering.add(
        packed.format.embedding_kernel(), packed.address, packed.block_bytes, packed.columns, weight.type.size(1),
        out.address, out.stride, ids_field, weight.type.size(0),
    )  # fmt: skip

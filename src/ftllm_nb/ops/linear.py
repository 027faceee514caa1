"""Linear: a matrix product with a weight of the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

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
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Reads, Tensor


class Linear(Operator):
    """input · weightᵀ + bias: `weight` is [out features, in features], `bias` [out features] or absent."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, multiplies="input", may_be_embedding=True, if_bias="give it as Linear's bias"),
        Parameter("bias", Kind.OPTIONAL_WEIGHT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType, bias: TensorType | None) -> TensorType:
        require_activation(input, "input", 3)
        if weight.rank != 2:
            raise ShapeError(f"weight must be [out features, in features], but it has {weight.rank} axes")
        out_features, in_features = weight.size(0), weight.size(1)
        if in_features != input.shape[-1]:
            turned = out_features == input.shape[-1]
            hint = ", as many as it has rows: one stored as [in, out] needs .transposed()" if turned else ""
            raise ShapeError(
                f"weight takes {in_features} features, but input has {input.size(-1)}{hint}",
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

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_linear(
            lowering,
            node.inputs["input"],
            [node.inputs["weight"]],
            [node.inputs.get("bias")],
            node.outputs["output"],
        )


def lower_linear(
    lowering: Lowering,
    source: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    target: Tensor,
) -> None:
    """One row for products of one input with several weights, whose outputs lie side by side from `target` on."""
    from ftllm_nb.kernels.tiling import PANEL_BLOCKS

    packed = lowering.weight(weights)
    read, written = lowering.place(source), lowering.place(target)
    lowering.need_scratch(packed.format.linear_scratch_bytes(packed.columns))
    lowering.add(
        packed.format.linear_kernel(), read.address, read.stride, packed.columns, packed.address,
        packed.block_bytes, packed.num_blocks, lowering.vector(biases, [weight.type.size(0) for weight in weights]),
        written.address, written.stride, lowering.count(source),
        reads=Reads(PANEL_BLOCKS * packed.block_bytes, packed.address, -(-packed.num_blocks // PANEL_BLOCKS)),
    )  # fmt: skip

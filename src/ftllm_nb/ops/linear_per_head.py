"""LinearPerHead: a matrix product for each head, with a matrix of its own."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, Reads


class LinearPerHead(Operator):
    """output[…, h, :] = input[…, h, :] · weight[h]ᵀ.

    input [1, tokens, heads, in features], weight [heads, out features, in features]; output [1, tokens, heads, out
    features]. The weight keeps the floats that it is stored in, or that --dtype names;
    types of whole numbers are for other matrices. fastllm multiplies by transposed copies of a part of the weight.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("weight", Kind.WEIGHT, multiplies="", stays_float=True),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, weight: TensorType) -> TensorType:
        """The heads and the weight's rows."""
        require_activation(input, "input", 4)
        if weight.rank != 3:
            raise ShapeError(f"weight must be [heads, out features, in features], but it has {weight.rank} axes")
        heads, out_features, in_features = (weight.size(axis) for axis in range(3))
        if (heads, in_features) != (input.size(2), input.size(3)):
            raise ShapeError(
                f"weight is for {heads} heads of {in_features}, but input has {input.size(2)} of {input.size(3)}",
                heads,
                in_features,
            )
        return input.with_shape(*input.shape[:-1], out_features)

    @staticmethod
    def reference(step: StepContext, input: Array, weight: Array) -> Array:
        """Head by head."""
        return np.asarray(np.einsum("bthi,hoi->btho", input, weight))

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """One row."""
        from ftllm_nb.kernels.emit import LANES
        from ftllm_nb.kernels.tiling import HEAD_SCRATCH_BYTES, PANEL_BLOCKS
        from ftllm_nb.quant.floats import FloatFormat

        source, weight, target = node.inputs["input"], node.inputs["weight"], node.outputs["output"]
        packed, read, written = lowering.weight([weight]), lowering.place(source), lowering.place(target)
        blocks = packed.num_blocks // weight.type.size(0)
        chunk = min(PANEL_BLOCKS, blocks)
        heads, size = weight.type.size(0), weight.type.size(1)
        lowering.need_scratch(HEAD_SCRATCH_BYTES)
        assert isinstance(packed.format, FloatFormat), "stays_float"
        lowering.add(
            packed.format.head_linear_kernel(), read.address, read.stride, packed.columns, packed.address,
            packed.block_bytes, blocks, lowering.vector([None], [LANES * PANEL_BLOCKS]),
            written.address, written.stride, lowering.count(source), heads, size,
            reads=Reads(chunk * packed.block_bytes, packed.address, heads * -(-blocks // chunk)),
        )  # fmt: skip

"""Permute: the axes after the tokens in another order."""

from __future__ import annotations

import math

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering

MOST_AXES = 4
"""After the tokens: as many as the kernel has fields for, `PERMUTED_AXES` of kernels/runs.py."""


class Permute(Operator):
    """Axis i of the output is axis `axis`[i] of the input, as [0, 1, 3, 2] for heads and headDim exchanged.

    Batch and tokens stay where they are: `axis` begins with 0, 1.
    """

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("axis", Kind.INTS),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, axis: tuple[int, ...]) -> TensorType:
        require_activation(input, "input")
        if sorted(axis) != list(range(input.rank)) or tuple(axis[:2]) != (0, 1):
            raise ShapeError(
                f"axis must name input's {input.rank} axes in another order, 0 and 1 first, but it is {list(axis)}"
            )
        if input.rank > 2 + MOST_AXES:
            raise ShapeError(f"input must have at most {2 + MOST_AXES} axes, but it has {input.rank}")
        return input.with_shape(*(input.shape[each] for each in axis))

    @staticmethod
    def reference(step: StepContext, input: Array, axis: tuple[int, ...]) -> Array:
        return input.transpose(axis)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.runs import PERMUTED_AXES, permute

        source, order = node.inputs["input"], node.attributes["axis"][2:]
        read, written = lowering.place(source), lowering.place(node.outputs["output"])
        sizes = [source.type.size(axis) for axis in range(source.type.rank)[2:]]
        steps = [4 * math.prod(sizes[at + 1 :]) for at in range(len(sizes))]
        ones = [1] * (PERMUTED_AXES - len(order))
        lowering.add(
            permute, read.address, read.stride, written.address, written.stride, lowering.count(source),
            *ones, *(sizes[axis - 2] for axis in order), *ones, *(steps[axis - 2] for axis in order),
        )  # fmt: skip

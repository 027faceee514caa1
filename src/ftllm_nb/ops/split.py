"""Split: a slice of one axis."""

from __future__ import annotations

from ftllm_nb.graph.types import ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation, require_axis
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_runs


class Split(Operator):
    """The elements start … end − 1 of an axis; a negative axis counts from the last."""

    parameters = (
        Parameter("input", Kind.INPUT),
        Parameter("axis", Kind.INT),
        Parameter("start", Kind.INT),
        Parameter("end", Kind.INT),
        Parameter("output", Kind.OUTPUT),
    )

    @staticmethod
    def infer(input: TensorType, axis: int, start: int, end: int) -> TensorType:
        require_activation(input, "input")
        axis = require_axis(input, axis)
        size = input.size(axis)
        if not 0 <= start < end <= size:
            raise ShapeError(
                f"start {start} and end {end} must be within the axis: 0 ≤ start < end ≤ {size}", size
            )
        return input.with_shape(*input.shape[:axis], end - start, *input.shape[axis + 1 :])

    @staticmethod
    def reference(step: StepContext, input: Array, axis: int, start: int, end: int) -> Array:
        return input.swapaxes(0, axis)[start:end].swapaxes(0, axis)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source, target = node.inputs["input"], node.outputs["output"]
        axis, start = int(node.attributes["axis"]) % source.type.rank, int(node.attributes["start"])
        if axis == 0:  # only the whole first axis passes the shape rule: a copy
            axis, start = 2, 0
        lower_runs(lowering, source, target, axis, start)

"""DataTypeAs: cast to the activation type. Intermediates are float32 here, so there is nothing to do."""

from __future__ import annotations

from ftllm_nb.graph.types import MARKER, ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext


class DataTypeAs(Operator):
    """Cast `input` to the type of `input1` (`atype`), in place: no change, intermediates are float32."""

    changes_nothing = True
    parameters = (Parameter("input", Kind.INPLACE), Parameter("input1", Kind.INPUT))

    @staticmethod
    def infer(input: TensorType, input1: TensorType) -> TensorType:
        if input1.dtype != MARKER:
            raise ShapeError('input1 must be data["atype"]')
        return input

    @staticmethod
    def reference(step: StepContext, input: Array, input1: Array) -> Array:
        return input

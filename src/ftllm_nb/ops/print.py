"""Print: look at a tensor while the graph runs."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import MARKER, ShapeError, TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext


class Print(Operator):
    """Print a tensor's name, shape, type and values."""

    parameters = (Parameter("input", Kind.INPUT_OR_WEIGHT),)

    @staticmethod
    def infer(input: TensorType) -> None:
        if input.dtype == MARKER:
            raise ShapeError("input holds no values that could be printed")

    @staticmethod
    def reference(step: StepContext, input: Array) -> None:
        values = np.array2string(input, threshold=64, precision=6)
        shape = ", ".join(map(str, input.shape))
        step.report(f"{step.names.get('input', 'input')} [{shape}] {input.dtype} ({step.where})\n{values}")

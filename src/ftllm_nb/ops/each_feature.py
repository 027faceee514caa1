"""What operators have in common that compute each feature on its own: one function of one number."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.ops.base import Kind, Operator, Parameter, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class EachFeature(Operator):
    """output = f(input); `output` may be `input`. A subclass has `kernel`, one of kernels/elementwise.py, and
    `reference`."""

    kernel: ClassVar[Kernel]
    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        """The output is of the input's type."""
        require_activation(input, "input")
        return input

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """One row."""
        source = node.inputs["input"]
        lower_each(lowering, cls.kernel, source, source, node.outputs["output"])

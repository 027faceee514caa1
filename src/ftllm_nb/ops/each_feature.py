"""What operators have in common that compute each feature on its own: one function of one number."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Kind, Operator, Parameter, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class EachFeature(Operator):
    """output = f(input); `output` may be `input`. A subclass has `kernel`, the name of one of
    kernels/elementwise.py, and `reference`."""

    kernel: ClassVar[str]
    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        """The output is of the input's type."""
        require_activation(input, "input")
        return input

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        """One row."""
        from ftllm_nb.kernels import elementwise

        source, kernel = node.inputs["input"], getattr(elementwise, cls.kernel)
        lower_each(lowering, kernel, source, source, node.outputs["output"])

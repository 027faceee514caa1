"""Convert: a value in the form in which products read it. Made where what makes the value cannot write it so."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext
from ftllm_nb.ops.forms import CombiningKernels, lower_combined
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.quant.activations import Int8Form, SplitForm


class Convert(Operator):
    """output = input: what changes is the form."""

    public = False
    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT, forms=(Int8Form, SplitForm)))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return input

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        from ftllm_nb.kernels.bf16_parts import split_kernel
        from ftllm_nb.kernels.elementwise import scale
        from ftllm_nb.kernels.quantize import quantize

        kernels, source = CombiningKernels(scale, quantize, split_kernel), node.inputs["input"]
        lower_combined(node, lowering, kernels, source, source)

"""SiluMultiplyQuantize: SiluMultiply whose result is only read by products with integer weights. Made by fusion."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.quantize import silu_multiply_quantize
from ftllm_nb.ops.base import Array, Operator, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.quantize import QUANTIZED_PARAMETERS, Quantize, lower_quantized, quantize_rows
from ftllm_nb.ops.silu_multiply import SiluMultiply


class SiluMultiplyQuantize(Operator):
    """output = silu(gate) · up, quantized."""

    public = False
    parameters = (*SiluMultiply.parameters[:-1], *QUANTIZED_PARAMETERS)

    @staticmethod
    def infer(gate: TensorType, up: TensorType, columns: int, group: int, middle: int) -> TensorType:
        return Quantize.infer(gate, columns, group, middle)

    @staticmethod
    def reference(step: StepContext, gate: Array, up: Array, columns: int, group: int, middle: int) -> Array:
        return quantize_rows(SiluMultiply.reference(step, gate, up), columns, group, middle)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_quantized(node, lowering, silu_multiply_quantize, node.inputs["gate"], node.inputs["up"])

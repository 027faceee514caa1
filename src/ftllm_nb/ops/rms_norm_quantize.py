"""RMSNormQuantize: an RMSNorm whose result is only read by products with integer weights. Made by fusion."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.quantize import rms_norm_quantize
from ftllm_nb.ops.base import Array, Operator, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.quantize import QUANTIZED_PARAMETERS, Quantize, quantize_rows, quantized_arguments
from ftllm_nb.ops.rms_norm import RMSNorm, norm_arguments


class RMSNormQuantize(Operator):
    """output = RMSNorm(input), quantized."""

    public = False
    parameters = (*(each for each in RMSNorm.parameters if not each.is_written), *QUANTIZED_PARAMETERS)

    @staticmethod
    def infer(
        input: TensorType, weight: TensorType | None, eps: float, offset: float, columns: int, group: int, middle: int
    ) -> TensorType:
        return Quantize.infer(input, columns, group, middle)

    @staticmethod
    def reference(
        step: StepContext, input: Array, weight: Array | None, eps: float, offset: float,
        columns: int, group: int, middle: int,
    ) -> Array:  # fmt: skip
        return quantize_rows(RMSNorm.reference(step, input, weight, eps, offset), columns, group, middle)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        arguments = norm_arguments(node, lowering, node.inputs["input"])
        lowering.add(rms_norm_quantize, *arguments, 0, 0, 0, *quantized_arguments(node, lowering))

"""AddRMSNormQuantize: an AddRMSNorm whose norm is only read by products with integer weights. Made by fusion."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.quantize import add_rms_norm_quantize
from ftllm_nb.ops.add_rms_norm import AddRMSNorm
from ftllm_nb.ops.base import Array, Operator, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.quantize import QUANTIZED_PARAMETERS, Quantize, quantize_rows, quantized_arguments
from ftllm_nb.ops.rms_norm import norm_arguments, sum_arguments


class AddRMSNormQuantize(Operator):
    """input0 += alpha · input1, in place; output = RMSNorm(input0), quantized."""

    public = False
    parameters = (*AddRMSNorm.parameters[:-1], *QUANTIZED_PARAMETERS)

    @staticmethod
    def infer(
        input0: TensorType, input1: TensorType, weight: TensorType | None, eps: float, alpha: float, offset: float,
        columns: int, group: int, middle: int,
    ) -> tuple[TensorType, TensorType]:  # fmt: skip
        return input0, Quantize.infer(input0, columns, group, middle)

    @staticmethod
    def reference(
        step: StepContext, input0: Array, input1: Array, weight: Array | None, eps: float, alpha: float, offset: float,
        columns: int, group: int, middle: int,
    ) -> tuple[Array, Array]:  # fmt: skip
        total, normalized = AddRMSNorm.reference(step, input0, input1, weight, eps, alpha, offset)
        return total, quantize_rows(normalized, columns, group, middle)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        arguments = norm_arguments(node, lowering, node.inputs["input0"])
        lowering.add(
            add_rms_norm_quantize, *arguments, *sum_arguments(node, lowering), *quantized_arguments(node, lowering)
        )

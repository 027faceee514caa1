"""SiluMultiplySplit: SiluMultiply whose result is only read by AMX products with bfloat16 weights. Made by fusion."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels.bf16_parts import silu_multiply_split_kernel
from ftllm_nb.ops.base import Array, Operator, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.silu_multiply import SiluMultiply
from ftllm_nb.ops.split_parts import SPLIT_PARAMETERS, SplitParts, lower_split, split_rows


class SiluMultiplySplit(Operator):
    """output = silu(gate) · up, in parts."""

    public = False
    parameters = (*SiluMultiply.parameters[:-1], *SPLIT_PARAMETERS)

    @staticmethod
    def infer(gate: TensorType, up: TensorType, columns: int, parts: int) -> TensorType:
        return SplitParts.infer(gate, columns, parts)

    @staticmethod
    def reference(step: StepContext, gate: Array, up: Array, columns: int, parts: int) -> Array:
        return split_rows(SiluMultiply.reference(step, gate, up), columns, parts)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        kernel = silu_multiply_split_kernel(int(node.attributes["parts"]))
        lower_split(node, lowering, kernel, node.inputs["gate"], node.inputs["up"])

"""MatMulTransB: products of matrices that each token has of its own, the second ones transposed."""

from __future__ import annotations

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Operator, StepContext
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.mat_mul import PARAMETERS, lower_product, product, product_type


class MatMulTransB(Operator):
    """alpha · input0 · input1ᵀ on the last two axes: as MatMul, with input1 [1, tokens, .., k, m] or [batch, k, m]."""

    parameters = PARAMETERS

    @staticmethod
    def infer(input0: TensorType, input1: TensorType, alpha: float = 1.0, group: int = 1) -> TensorType:
        return product_type(input0, input1, group, transposed=True)

    @staticmethod
    def reference(step: StepContext, input0: Array, input1: Array, alpha: float = 1.0, group: int = 1) -> Array:
        return product(input0, input1.swapaxes(-1, -2), alpha, group)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_product(node, lowering, transposed=True)

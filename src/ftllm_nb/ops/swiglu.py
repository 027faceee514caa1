"""Swiglu: the gate and the product of a gated feed-forward layer in one pass (Shazeer, 2020)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Operator, StepContext
from ftllm_nb.ops.halves import HALVES, half_of, halves, lower_halves
from ftllm_nb.ops.lowering import LoweredNode, Lowering
from ftllm_nb.ops.silu import silu
from ftllm_nb.ops.silu_multiply import silu_kernels


class Swiglu(Operator):
    """silu(first half) · second half of the last axis: [.., 2 n] to [.., n]."""

    parameters = HALVES

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return half_of(input)

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        gate, up = halves(input)
        return np.asarray(silu(gate) * up)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_halves(node, lowering, silu_kernels())

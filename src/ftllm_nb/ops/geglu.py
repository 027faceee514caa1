"""Geglu: gelu's gate and the product of a gated feed-forward layer in one pass (Shazeer, 2020)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Operator, StepContext
from ftllm_nb.ops.gelu import exact_gelu
from ftllm_nb.ops.gelu_multiply import gelu_kernels
from ftllm_nb.ops.halves import HALVES, half_of, halves, lower_halves
from ftllm_nb.ops.lowering import LoweredNode, Lowering


class Geglu(Operator):
    """gelu(first half) · second half of the last axis: [.., 2 n] to [.., n].

    Always the exact form, as in fastllm, whatever the config names; Split, Gelu and MulTo make the other one.
    """

    parameters = HALVES

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        return half_of(input)

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        gate, up = halves(input)
        return np.asarray(exact_gelu(gate) * up)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        lower_halves(node, lowering, gelu_kernels(tanh=False))

"""Silu: the activation of most gated feed-forward layers."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.kernels import elementwise
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation
from ftllm_nb.ops.lowering import LoweredNode, Lowering, lower_each


class Silu(Operator):
    """input · sigmoid(input); `output` may be `input`."""

    parameters = (Parameter("input", Kind.INPUT), Parameter("output", Kind.OUTPUT))

    @staticmethod
    def infer(input: TensorType) -> TensorType:
        require_activation(input, "input")
        return input

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return silu(input)

    @classmethod
    def lower(cls, node: LoweredNode, lowering: Lowering) -> None:
        source = node.inputs["input"]
        lower_each(lowering, elementwise.silu, source, source, node.outputs["output"])


def silu(values: Array) -> Array:
    """x / (1 + e⁻ˣ) without overflow: the exponent is never positive."""
    small = np.exp(-np.abs(values))
    return np.asarray(values * np.where(values >= 0, 1, small) / (1 + small))

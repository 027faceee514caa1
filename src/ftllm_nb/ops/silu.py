"""Silu: the activation of most gated feed-forward layers."""

from __future__ import annotations

import numpy as np

from ftllm_nb.graph.types import TensorType
from ftllm_nb.ops.base import Array, Kind, Operator, Parameter, StepContext, require_activation


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


def silu(values: Array) -> Array:
    """x / (1 + e⁻ˣ) without overflow: the exponent is never positive."""
    small = np.exp(-np.abs(values))
    return np.asarray(values * np.where(values >= 0, 1, small) / (1 + small))

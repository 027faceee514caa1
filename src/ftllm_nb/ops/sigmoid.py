"""Sigmoid: the logistic function, of gates."""

from __future__ import annotations

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature
from ftllm_nb.ops.silu import sigmoid


class Sigmoid(EachFeature):
    """1 / (1 + e^−input); `output` may be `input`."""

    kernel = "sigmoid_each"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return sigmoid(input)

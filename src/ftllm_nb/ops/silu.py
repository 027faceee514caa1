"""Silu: the activation of most gated feed-forward layers."""

from __future__ import annotations

import numpy as np

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature


class Silu(EachFeature):
    """input · sigmoid(input); `output` may be `input`."""

    kernel = "silu"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return silu(input)


def sigmoid(values: Array) -> Array:
    """1 / (1 + e⁻ˣ) without overflow: the exponent is never positive."""
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1, small) / (1 + small))


def silu(values: Array) -> Array:
    """x / (1 + e⁻ˣ)."""
    return np.asarray(values * sigmoid(values))

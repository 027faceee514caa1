"""Softplus: a smooth form of max(x, 0), as state-space models and gates have it."""

from __future__ import annotations

import numpy as np

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature


class Softplus(EachFeature):
    """ln(1 + e^input); `output` may be `input`. fastllm has it only as a part of MambaSoftplus."""

    kernel = "softplus"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.logaddexp(np.float32(0), input)

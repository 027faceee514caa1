"""Relu: the rectifier."""

from __future__ import annotations

import numpy as np

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature


class Relu(EachFeature):
    """max(input, 0); `output` may be `input`."""

    kernel = "relu"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.maximum(input, np.float32(0))

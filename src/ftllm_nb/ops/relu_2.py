"""Relu2: the squared rectifier (So et al., Primer, 2021)."""

from __future__ import annotations

import numpy as np

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature


class Relu2(EachFeature):
    """max(input, 0)²; `output` may be `input`."""

    kernel = "relu_2"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.asarray(np.square(np.maximum(input, np.float32(0))))

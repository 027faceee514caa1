"""Exp: the exponential."""

from __future__ import annotations

import numpy as np

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature


class Exp(EachFeature):
    """e^input; `output` may be `input`."""

    kernel = "exp_each"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.exp(input)

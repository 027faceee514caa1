"""TanH: the hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature


class TanH(EachFeature):
    """tanh(input); `output` may be `input`."""

    kernel = "tanh_each"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return np.tanh(input)

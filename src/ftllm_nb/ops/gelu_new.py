"""GeluNew: gelu in its tanh form, whatever the config says."""

from __future__ import annotations

from ftllm_nb.ops.base import Array, StepContext
from ftllm_nb.ops.each_feature import EachFeature
from ftllm_nb.ops.gelu import tanh_gelu


class GeluNew(EachFeature):
    """½ input (1 + tanh(√(2/π) (input + 0.044715 input³))); `output` may be `input`."""

    kernel = "gelu_tanh"

    @staticmethod
    def reference(step: StepContext, input: Array) -> Array:
        return tanh_gelu(input)

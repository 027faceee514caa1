"""GeluMultiply: Gelu and MulTo in one pass, as Gemma's feed-forward layers have them. Made by fusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ftllm_nb.kernels.bf16_parts import gelu_multiply_split_kernel
from ftllm_nb.kernels.elementwise import gelu_multiply, gelu_tanh_multiply
from ftllm_nb.kernels.quantize import gelu_multiply_quantize, gelu_tanh_multiply_quantize
from ftllm_nb.ops.forms import CombiningKernels
from ftllm_nb.ops.gated import Gated, gated
from ftllm_nb.ops.gelu import Gelu, is_tanh_form

EXACT = CombiningKernels(gelu_multiply, gelu_multiply_quantize, partial(gelu_multiply_split_kernel, tanh=False))
TANH = CombiningKernels(
    gelu_tanh_multiply, gelu_tanh_multiply_quantize, partial(gelu_multiply_split_kernel, tanh=True)
)


class GeluMultiply(Gated):
    """gelu(gate) · up, in the form that the config names"""

    activation = Gelu
    fuses = gated(Gelu)

    @classmethod
    def kernels(cls, config: Mapping[str, Any]) -> CombiningKernels:
        return TANH if is_tanh_form(config) else EXACT

"""GeluMultiply: Gelu and MulTo in one pass, as Gemma's feed-forward layers have them. Made by fusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ftllm_nb.ops.forms import CombiningKernels
from ftllm_nb.ops.gated import Gated, gated
from ftllm_nb.ops.gelu import Gelu, is_tanh_form


def gelu_kernels(tanh: bool) -> CombiningKernels:
    """The kernels of gelu(gate) · up, in the exact form or in the tanh form."""
    from ftllm_nb.kernels.bf16_parts import gelu_multiply_split_kernel
    from ftllm_nb.kernels.elementwise import gelu_multiply, gelu_tanh_multiply
    from ftllm_nb.kernels.quantize import gelu_multiply_quantize, gelu_tanh_multiply_quantize

    plain, int8 = (
        (gelu_tanh_multiply, gelu_tanh_multiply_quantize) if tanh else (gelu_multiply, gelu_multiply_quantize)
    )
    return CombiningKernels(plain, int8, partial(gelu_multiply_split_kernel, tanh=tanh))


class GeluMultiply(Gated):
    """gelu(gate) · up, in the form that the config names"""

    activation = Gelu
    fuses = gated(Gelu)

    @classmethod
    def kernels(cls, config: Mapping[str, Any]) -> CombiningKernels:
        return gelu_kernels(tanh=is_tanh_form(config))

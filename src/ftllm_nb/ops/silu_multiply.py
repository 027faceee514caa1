"""SiluMultiply: Silu and MulTo in one pass. Made by fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftllm_nb.ops.forms import CombiningKernels
from ftllm_nb.ops.gated import Gated, gated
from ftllm_nb.ops.silu import Silu


def silu_kernels() -> CombiningKernels:
    """The kernels of silu(gate) · up."""
    from ftllm_nb.kernels.bf16_parts import silu_multiply_split_kernel
    from ftllm_nb.kernels.elementwise import silu_multiply
    from ftllm_nb.kernels.quantize import silu_multiply_quantize

    return CombiningKernels(silu_multiply, silu_multiply_quantize, silu_multiply_split_kernel)


class SiluMultiply(Gated):
    """silu(gate) · up"""

    activation = Silu
    fuses = gated(Silu)

    @classmethod
    def kernels(cls, config: Mapping[str, Any]) -> CombiningKernels:
        return silu_kernels()

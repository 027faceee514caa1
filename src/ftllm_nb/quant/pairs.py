"""bfloat16 as AMX wants it: two columns side by side. Activations are sums of two bfloat16, or one."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm_nb.kernels.amx_bf16 import SCRATCH_BYTES, linear_kernel, pack_pairs_kernel, pair_embedding
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.quant.activations import SplitForm
from ftllm_nb.quant.floats import SOURCE_KINDS, FloatFormat
from ftllm_nb.quantized_type import ElementType

_EXACT, _ROUNDED = SplitForm(parts=2), SplitForm(parts=1)


@dataclass(frozen=True)
class PairFormat(FloatFormat):
    """Blocks `[columns/2][16][2]`, columns padded to a multiple of 32."""

    activations: SplitForm = _EXACT

    def rounding_activations(self) -> PairFormat:
        return PairFormat(self.name, _ROUNDED)

    def for_rows(self) -> FloatFormat:
        return FloatFormat(self.name)

    def padded_columns(self, columns: int) -> int:
        return self.activations.columns(columns)

    def block_bytes(self, columns: int) -> int:
        return 32 * self.padded_columns(columns)

    def pack_kernel(self, source: ElementType) -> Kernel:
        return pack_pairs_kernel(SOURCE_KINDS[source])

    def linear_kernel(self) -> Kernel:
        return linear_kernel(self.activations.parts)

    def linear_scratch_bytes(self, columns: int) -> int:
        return SCRATCH_BYTES

    def embedding_kernel(self) -> Kernel:
        return pair_embedding

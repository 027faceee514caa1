"""16-bit brain floats: the upper half of a float32, 8 significant bits, float32's range.

Where the CPU has AMX they lie as it wants them, and activations are sums of two of them, or one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ftllm_nb.kernels.amx_bf16 import SCRATCH_BYTES, linear_kernel, pack_pairs_kernel, pair_embedding
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.tiers import current_tier
from ftllm_nb.quant.activations import COLUMNS_MULTIPLE, SplitForm
from ftllm_nb.quant.floats import SOURCE_KINDS, FloatFormat

_EXACT, _ROUNDED = SplitForm(parts=2), SplitForm(parts=1)


@dataclass(frozen=True)
class PairFormat(FloatFormat):
    """Blocks `[columns/2][16][2]`, columns padded to a multiple of 32."""

    activations: SplitForm = _EXACT

    def rounding_activations(self) -> PairFormat:
        return PairFormat(self.name, _ROUNDED)

    def padded_columns(self, columns: int) -> int:
        return -(-columns // COLUMNS_MULTIPLE) * COLUMNS_MULTIPLE

    def block_bytes(self, columns: int) -> int:
        return 32 * self.padded_columns(columns)

    def pack_kernel(self, source: str) -> Kernel:
        return pack_pairs_kernel(SOURCE_KINDS[source])

    def linear_kernel(self) -> Kernel:
        return linear_kernel(self.activations.parts)

    def linear_scratch_bytes(self, columns: int) -> int:
        return SCRATCH_BYTES

    def embedding_kernel(self) -> Kernel:
        return pair_embedding


FORMAT = PairFormat("bfloat16") if current_tier().multiplies_matrices else FloatFormat("bfloat16")

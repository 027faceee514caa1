"""The float formats' common form: blocks `[rows/16][columns][16]` of float32, float16 or bfloat16."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.bfloat16 import bfloat16_as_float32, float32_as_bfloat16
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.embedding import embedding_kernel
from ftllm_nb.kernels.matmul import expert_linear_kernel, head_linear_kernel, linear_kernel
from ftllm_nb.kernels.matmul_tile import BFLOAT16, FLOAT16, FLOAT32, WEIGHT_BYTES
from ftllm_nb.kernels.pack import pack_kernel
from ftllm_nb.quant.activations import SplitForm
from ftllm_nb.quant.base import BLOCK_ROWS, WeightFormat
from ftllm_nb.quantized_type import ElementType

SOURCE_KINDS: dict[ElementType, int] = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}
"""The types that a checkpoint's weights may have."""


@dataclass(frozen=True)
class FloatFormat(WeightFormat):
    """Weights as floats of the type `name`."""

    name: str
    activations: SplitForm | None = None

    @property
    def _kind(self) -> int:
        return SOURCE_KINDS[self.name]

    def padded_columns(self, columns: int) -> int:
        return columns

    def block_bytes(self, columns: int) -> int:
        return BLOCK_ROWS * columns * WEIGHT_BYTES[self._kind]

    def pack_scratch_bytes(self, columns: int) -> int:
        return 0

    def pack_kernel(self, source: ElementType) -> Kernel:
        return pack_kernel(SOURCE_KINDS[source], self._kind)

    def linear_kernel(self) -> Kernel:
        return linear_kernel(self._kind)

    def expert_linear_kernel(self) -> Kernel:
        return expert_linear_kernel(self._kind)

    def head_linear_kernel(self) -> Kernel:
        """Multiplies each head's activations by packed weights of its own."""
        return head_linear_kernel(self._kind)

    def linear_scratch_bytes(self, columns: int) -> int:
        return 0

    def embedding_kernel(self) -> Kernel:
        return embedding_kernel(self._kind)

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.name == "bfloat16":
            return bfloat16_as_float32(float32_as_bfloat16(weights))
        return weights.astype(self.name).astype(np.float32)

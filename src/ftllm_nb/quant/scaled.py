"""Formats of matrices that a checkpoint stores as codes that are floats, with scales: kept as they are.

Products decode them to float32 on the way, and read float32 activations. Not one of the formats that `--dtype` names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.codes import CODES
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES
from ftllm_nb.kernels.scaled.decode import number_of
from ftllm_nb.kernels.scaled.matmul import Layout, scaled_expert_kernel, scaled_linear_kernel
from ftllm_nb.kernels.scaled.pack import pack_scaled_kernel, scaled_embedding_kernel
from ftllm_nb.quant.base import BLOCK_ROWS, WeightFormat
from ftllm_nb.quant.floats import SOURCE_KINDS
from ftllm_nb.quantized_type import ElementType, ScaledType


@dataclass(frozen=True)
class ScaledFormat(WeightFormat):
    """The codes, scales and offsets of the checkpoint."""

    type: ScaledType
    activations = None

    @property
    def name(self) -> str:  # type: ignore[override]  # a plain attribute there
        return self.type.name

    @property
    def _layout(self) -> Layout:
        return number_of(self.type.code), self.type.group, SOURCE_KINDS[self.type.scales], int(self.type.offsets)

    def padded_columns(self, columns: int) -> int:
        return columns

    def block_bytes(self, columns: int) -> int:
        each = WEIGHT_BYTES[SOURCE_KINDS[self.type.scales]] * (1 + self.type.offsets)
        return BLOCK_ROWS * (columns * CODES[self.type.code].bits // 8 + self.type.groups(columns) * each)

    def pack_scratch_bytes(self, columns: int) -> int:
        return 0

    def pack_kernel(self, source: ElementType) -> Kernel:
        """See kernels/scaled/pack.py for what its row takes beside that of other formats."""
        return pack_scaled_kernel(self._layout)

    def linear_kernel(self) -> Kernel:
        return scaled_linear_kernel(self._layout)

    def expert_linear_kernel(self) -> Kernel:
        return scaled_expert_kernel(self._layout)

    def linear_scratch_bytes(self, columns: int) -> int:
        return 0

    def embedding_kernel(self) -> Kernel:
        return scaled_embedding_kernel(self._layout)

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return weights

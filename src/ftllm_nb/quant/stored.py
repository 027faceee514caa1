"""Formats of matrices that a checkpoint stores as whole numbers: kept as they are, to the last bit.

Not one of the formats that `--dtype` names: a checkpoint names it, by the type of its tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.repack_integers import repack_integers_kernel
from ftllm_nb.quant.integers import IntegerLayout
from ftllm_nb.quantized_type import ElementType


@dataclass(frozen=True)
class StoredFormat(IntegerLayout):
    """The numbers, scales and zero points of the checkpoint."""

    def pack_scratch_bytes(self, columns: int) -> int:
        return 0

    def pack_kernel(self, source: ElementType) -> Kernel:
        """See kernels/repack_integers.py for what its row takes beside that of other formats."""
        return repack_integers_kernel(*self._constants)

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return weights

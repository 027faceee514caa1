"""The integer formats' common form: 4-bit or 8-bit weights, a float16 scale for each group of each row.

A group's scale is its largest magnitude divided by half the number of steps (7.5 or 127.5); weights are rounded to
the nearest step. kernels/integer_tile.py says how a block of 16 rows lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.embedding import integer_embedding_kernel
from ftllm_nb.kernels.integer_matmul import integer_linear_kernel, linear_scratch_bytes
from ftllm_nb.kernels.integer_tile import MIDDLE
from ftllm_nb.kernels.pack_integers import pack_integers_kernel
from ftllm_nb.quant.base import BLOCK_ROWS, ActivationFormat, WeightFormat
from ftllm_nb.quant.floats import SOURCE_KINDS


@dataclass(frozen=True)
class IntegerFormat(WeightFormat):
    """Weights of `bits` bits in groups of `group` columns; 0 is one group a row. `group` is a multiple of 32."""

    name: str
    bits: int
    group: int

    @property
    def activations(self) -> ActivationFormat:  # type: ignore[override]
        return ActivationFormat(self.group, MIDDLE[self.bits])

    def padded_columns(self, columns: int) -> int:
        return self.activations.columns(columns)

    def _groups(self, columns: int) -> int:
        padded = self.padded_columns(columns)
        return padded // (self.group or padded)

    def block_bytes(self, columns: int) -> int:
        values = self.padded_columns(columns) * BLOCK_ROWS * self.bits // 8
        return values + 2 * BLOCK_ROWS * self._groups(columns)

    def pack_scratch_bytes(self, columns: int) -> int:
        return 5 * self.padded_columns(columns)

    def pack_kernel(self, source: str) -> Kernel:
        return pack_integers_kernel(SOURCE_KINDS[source], self.bits, self.group)

    def linear_kernel(self) -> Kernel:
        return integer_linear_kernel(self.bits, self.group, 0)

    def linear_scratch_bytes(self, columns: int) -> int:
        return linear_scratch_bytes(self.padded_columns(columns))

    def embedding_kernel(self) -> Kernel:
        return integer_embedding_kernel(self.bits, self.group, 0)

    def encode(self, weights: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
        """Steps [rows, padded columns], −middle … middle − 1, and scales [rows, groups]."""
        rows, columns = weights.shape
        padded = np.zeros((rows, self.padded_columns(columns)), np.float32)
        padded[:, :columns] = weights
        groups = padded.reshape(rows, self._groups(columns), -1)
        middle = MIDDLE[self.bits]
        scales = (np.abs(groups).max(-1) / np.float32(middle - 0.5)).astype(np.float16)
        with np.errstate(divide="ignore"):
            inverse = np.where(scales > 0, np.float32(1) / scales.astype(np.float32), np.float32(0))
        steps = np.rint(groups * inverse[..., None]).astype(np.int32)
        return np.clip(steps, -middle, middle - 1).reshape(padded.shape), scales

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        steps, scales = self.encode(weights)
        groups = steps.reshape(*scales.shape, -1).astype(np.float32) * scales.astype(np.float32)[..., None]
        return groups.reshape(steps.shape)[:, : weights.shape[1]]

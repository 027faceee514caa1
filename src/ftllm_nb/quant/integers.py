"""The integer formats' common form: 4-bit or 8-bit weights, a scale for each group of each row.

kernels/integer_tile.py says how a block of 16 rows lies.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.hadamard import gathered_weights, spread_weights
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.embedding import integer_embedding_kernel, spread_embedding_kernel
from ftllm_nb.kernels.integer_matmul import integer_expert_kernel, integer_linear_kernel, linear_scratch_bytes
from ftllm_nb.kernels.matmul_tile import WEIGHT_BYTES
from ftllm_nb.kernels.pack_integers import pack_integers_kernel
from ftllm_nb.kernels.sums import MIDDLE
from ftllm_nb.quant.activations import Int8Form
from ftllm_nb.quant.base import BLOCK_ROWS, WeightFormat
from ftllm_nb.quant.floats import SOURCE_KINDS
from ftllm_nb.quantized_type import COLUMNS_MULTIPLE, ElementType, QuantizedType

_INT32_STEPS = 2**31 - 1
_LEAST_SCALE = np.float16(2**-20)
"""A float16 below has less than 4 bits of precision, and becomes 0 soon."""


def has_room(scales: NDArray[np.float16]) -> bool:
    """Whether the largest of a matrix's scales, none below 0, is precise: a few small ones do no harm."""
    return bool(scales.view(np.uint16).max() >= _LEAST_SCALE.view(np.uint16))


def is_zero(bits: NDArray[np.unsignedinteger[Any]]) -> bool:
    """Whether all of some floats, given as their bits, are 0 or −0."""
    return not (bits << 1).any()


@dataclass(frozen=True)
class IntegerLayout(WeightFormat):
    """Weights as whole numbers of this type."""

    type: QuantizedType

    @property
    def name(self) -> str:  # type: ignore[override]  # a plain attribute there
        return self.type.name

    @property
    def activations(self) -> Int8Form:  # type: ignore[override]
        middle = 1 if self.type.zero_points else MIDDLE[self.type.bits]
        return Int8Form(self.type.group, middle, self.type.spread)

    def padded_columns(self, columns: int) -> int:
        return self.type.padded_columns(columns)

    @property
    def most_columns(self) -> int:
        """Columns of the longest row whose dot products surely fit an int32; groups are never as long."""
        return sys.maxsize if self.type.group else _INT32_STEPS // (MIDDLE[self.type.bits] * 127)

    def block_bytes(self, columns: int) -> int:
        values = self.padded_columns(columns) * BLOCK_ROWS * self.type.bits // 8
        each = WEIGHT_BYTES[self._scale_kind] + self.type.zero_points
        return values + BLOCK_ROWS * self.type.groups(columns) * each

    @property
    def _scale_kind(self) -> int:
        return SOURCE_KINDS[self.type.scales]

    @property
    def _constants(self) -> tuple[int, int, int, int]:
        return self.type.bits, self.type.group, int(self.type.zero_points), self._scale_kind

    def linear_kernel(self) -> Kernel:
        return integer_linear_kernel(*self._constants)

    def expert_linear_kernel(self) -> Kernel:
        return integer_expert_kernel(*self._constants)

    def linear_scratch_bytes(self, columns: int) -> int:
        return linear_scratch_bytes(self.type.bits, self.type.group, self.padded_columns(columns))

    def embedding_kernel(self) -> Kernel:
        if self.type.spread:
            return spread_embedding_kernel(self.type.bits, self.type.group)
        return integer_embedding_kernel(*self._constants)


@dataclass(frozen=True)
class IntegerFormat(IntegerLayout):
    """Float weights are rounded to the nearest step of a float16 scale, without zero points.

    A group's scale is its largest magnitude divided by half the number of steps (7.5 or 127.5). Where the type is
    spread, groups of weights, and of what they are multiplied by, are multiplied by Hadamard's matrix first: none of a
    group is far larger than the others then.
    """

    def fitting(self, columns: int) -> IntegerFormat:
        """For rows of so many numbers: those that are filled up to a multiple of 32 are not spread, since what fills
        them up would become numbers that a packed folder does not store."""
        if columns % COLUMNS_MULTIPLE == 0:
            return self
        return IntegerFormat(replace(self.type, spread=False))

    def has_room(self, packed: NDArray[np.uint8], columns: int) -> bool:
        """Whether some scale of a packed matrix, uint8 [blocks, block_bytes], is not too small for float16."""
        scales = packed[:, self.padded_columns(columns) * BLOCK_ROWS * self.type.bits // 8 :]
        return has_room(scales.view(np.float16))

    def pack_scratch_bytes(self, columns: int) -> int:
        return 5 * self.padded_columns(columns)

    def pack_kernel(self, source: ElementType) -> Kernel:
        return pack_integers_kernel(SOURCE_KINDS[source], self.type.bits, self.type.group, self.type.spread)

    def encode(self, weights: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
        """Steps [rows, padded columns], −middle … middle − 1, and scales [rows, groups]."""
        rows, columns = weights.shape
        padded = np.zeros((rows, self.padded_columns(columns)), np.float32)
        padded[:, :columns] = weights
        groups = padded.reshape(rows, self.type.groups(columns), -1)
        if self.type.spread:
            groups = spread_weights(groups)
        middle = MIDDLE[self.type.bits]
        with np.errstate(over="ignore", invalid="ignore"):
            scales = (np.abs(groups).max(-1) / np.float32(middle - 0.5)).astype(np.float16)
        with np.errstate(divide="ignore"):
            inverse = np.where(scales > 0, np.float32(1) / scales.astype(np.float32), np.float32(0))
        steps = np.rint(groups * inverse[..., None]).astype(np.int32)
        return np.clip(steps, -middle, middle - 1).reshape(padded.shape), scales

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        steps, scales = self.encode(weights)
        groups = steps.reshape(*scales.shape, -1).astype(np.float32) * scales.astype(np.float32)[..., None]
        if self.type.spread:
            groups = gathered_weights(groups)
        return groups.reshape(steps.shape)[:, : weights.shape[1]]

"""The forms in which products read activations: 8-bit numbers with scales, or sums of bfloat16.

A product's weights say which form they want (`WeightFormat.activations`); the operator that makes a value writes it in
that form where it can, and `Convert` does where it cannot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.graph.types import WORDS, TensorType
from ftllm_nb.hadamard import hadamard, hadamard_size, weights_share
from ftllm_nb.quantized_type import COLUMNS_MULTIPLE


class ActivationForm(ABC):
    """How a token's features lie: a row of 4-byte words."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the numbers are, as people read it."""

    @abstractmethod
    def columns(self, features: int) -> int:
        """Features filled up with zeros."""

    @abstractmethod
    def row_bytes(self, features: int) -> int:
        """Bytes of a token."""

    @abstractmethod
    def convert(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The definition, in NumPy: [1, tokens, …] float32 to [1, tokens, words], the bytes seen as float32."""

    def type(self, source: TensorType) -> TensorType:
        """Of a value of this type, [1, tokens, …], in this form."""
        features = 1
        for axis in range(2, source.rank):
            features *= source.size(axis)
        return TensorType((*source.shape[:2], self.row_bytes(features) // 4), WORDS)


@dataclass(frozen=True)
class Int8Form(ActivationForm):
    """For products with integer weights: int8, a scale for each group of each token; see kernels/quantize.py.

    `group`: columns of a group, 0 for the whole row. `middle`: what stands for zero in the weights, 1 where each group
    of them has a zero point of its own, 0 where records have sums (kernels/activation_rows.py). `spreads`: each group
    is multiplied by Hadamard's matrix first, as the weights were (kernels/hadamard.py).
    """

    group: int
    middle: int
    spreads: bool = False

    @property
    def code(self) -> int:
        """`middle` and `spreads` as kernels take them."""
        from ftllm_nb.kernels.activation_rows import SPREADS

        return self.middle + SPREADS * self.spreads

    @property
    def name(self) -> str:
        return "int8"

    def columns(self, features: int) -> int:
        multiple = self.group or COLUMNS_MULTIPLE
        return -(-features // multiple) * multiple

    def group_columns(self, features: int) -> int:
        """Columns that share a scale."""
        return self.group or self.columns(features)

    def row_bytes(self, features: int) -> int:
        """Values, then a record for each group."""
        from ftllm_nb.kernels.activation_rows import record_bytes

        columns = self.columns(features)
        return columns + record_bytes(self.middle) * (columns // self.group_columns(features))

    def convert(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        from ftllm_nb.kernels.activation_rows import LEAST_MAGNITUDE, ORIGIN_VALUE, SCALE_MASK, has_sums, origin

        shape = values.shape[:2]
        flat = values.reshape(*shape, -1)
        columns, group = self.columns(flat.shape[-1]), self.group_columns(flat.shape[-1])
        padded = np.zeros((*shape, columns), np.float32)
        padded[..., : flat.shape[-1]] = flat
        groups, share = padded.reshape(*shape, columns // group, group), np.float32(1)
        if self.spreads:
            with np.errstate(invalid="ignore", over="ignore"):
                groups = hadamard(groups)
            share = np.float32(weights_share(group) / hadamard_size(group))
        largest = np.abs(groups).max(-1)
        is_large = ~(largest < np.float32(LEAST_MAGNITUDE))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inverse = np.where(is_large, np.float32(127) / largest, np.float32(0))
            scales = np.where(is_large, largest / np.float32(127) * share, np.float32(0)).astype(np.float32)
            scales = (scales.view(np.int32) & SCALE_MASK).view(np.float32)
            offsets = np.float32(-ORIGIN_VALUE) * scales
            scales = np.where(np.isinf(offsets), -offsets, scales)
            steps = np.nan_to_num(np.rint(groups * inverse[..., None])).astype(np.int8)
        starts = (origin(self.middle) - self.middle * steps.sum(-1, dtype=np.int64)).astype(np.int32)
        records = np.stack([scales, starts.view(np.float32), offsets], -1)
        if has_sums(self.middle):
            sums = [steps.reshape(*scales.shape, -1, run).sum(-1, dtype=np.int16) for run in (16, 32)]
            parts = [sum_.view(np.float32) for sum_ in sums]
            records = np.concatenate([records, np.zeros_like(records[..., :1]), *parts], -1)
        parts = [steps.reshape(*shape, columns).view(np.float32), records.reshape(*shape, -1)]
        return np.concatenate(parts, -1)


@dataclass(frozen=True)
class SplitForm(ActivationForm):
    """For products on AMX with bfloat16 weights: each number as the sum of `parts` bfloat16, within 2^-17 of itself if
    two, in tiles; see kernels/bf16_parts.py."""

    parts: int = 2

    @property
    def name(self) -> str:
        return "bfloat16" if self.parts == 1 else f"{self.parts} bfloat16"

    def columns(self, features: int) -> int:
        from ftllm_nb.kernels.bf16_parts import STEP_COLUMNS

        return -(-features // STEP_COLUMNS) * STEP_COLUMNS

    def row_bytes(self, features: int) -> int:
        return 2 * self.parts * self.columns(features)

    def convert(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        from ftllm_nb.kernels.bf16_parts import STEP_COLUMNS, TILE_ROWS

        rows = values.reshape(values.shape[1], -1)
        left = np.zeros((len(rows), self.columns(rows.shape[1])), np.float32)
        left[:, : rows.shape[1]] = rows
        found: list[NDArray[Any]] = []
        for _ in range(self.parts):
            bits = left.view(np.uint32)
            rounded = bits + (bits >> np.uint32(16) & np.uint32(1)) + np.uint32(0x7FFF)
            found.append((rounded >> np.uint32(16)).astype(np.uint16))
            left = left - (rounded & np.uint32(0xFFFF0000)).view(np.float32)
        by_step = np.stack(found, 1).reshape(self.parts * len(rows), -1, STEP_COLUMNS).transpose(1, 0, 2)
        tiles = [
            np.ascontiguousarray(by_step[:, first : first + TILE_ROWS]).ravel()
            for first in range(0, self.parts * len(rows), TILE_ROWS)
        ]
        return np.concatenate(tiles).view(np.float32).reshape(1, len(rows), -1)

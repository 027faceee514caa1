"""Formats of matrices that a checkpoint stores in ggml's block types: their own bits, moved into blocks of 16 rows.

Not one of the formats that `--dtype` names: a checkpoint names it, by the type of its tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml.places import TABLES, as_places
from ftllm_nb.kernels.activation_rows import SUMS_GROUP
from ftllm_nb.kernels.blocks.block_type import PART_COLUMNS, BlockType
from ftllm_nb.kernels.blocks.lookup import block_embedding_kernel
from ftllm_nb.kernels.blocks.matmul import block_expert_kernel, block_linear_kernel, block_scratch_bytes
from ftllm_nb.kernels.blocks.repack import repack_blocks_kernel
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.quant.activations import Int8Form
from ftllm_nb.quant.base import WeightFormat
from ftllm_nb.quantized_type import ElementType


@dataclass(frozen=True)
class BlockFormat(WeightFormat):
    """Weights of a block type that has kernels."""

    name: str

    @staticmethod
    def has(name: str) -> bool:
        """Whether a block type has kernels."""
        return name in block_types()

    @staticmethod
    def float_type(name: str) -> str:
        """The narrowest type of floats that holds all numbers of a block type, of those that have no kernels."""
        return "bfloat16" if name == "NVFP4" else "float32"

    def source(self, raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What `pack_kernel` reads, of a matrix as it is stored, uint8 [rows, bytes of a row]."""
        return as_places(self.name, raw) if self.name in TABLES else raw

    @property
    def type(self) -> BlockType:
        """What kernels know of it."""
        return block_types()[self.name]

    @property
    def activations(self) -> Int8Form:  # type: ignore[override]
        return Int8Form(SUMS_GROUP if self.type.is_super else PART_COLUMNS, self.type.middle)

    def padded_columns(self, columns: int) -> int:
        return columns

    def block_bytes(self, columns: int) -> int:
        return columns // self.type.columns * self.type.unit_bytes

    def pack_scratch_bytes(self, columns: int) -> int:
        return 0

    def pack_kernel(self, source: ElementType) -> Kernel:
        return repack_blocks_kernel(self.name)

    def linear_kernel(self) -> Kernel:
        return block_linear_kernel(self.name)

    def expert_linear_kernel(self) -> Kernel:
        return block_expert_kernel(self.name)

    def linear_scratch_bytes(self, columns: int) -> int:
        return block_scratch_bytes(self.name)

    def embedding_kernel(self) -> Kernel:
        return block_embedding_kernel(self.name)

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return weights

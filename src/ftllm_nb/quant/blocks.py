"""Formats of matrices in ggml's block types: their own bits, moved into blocks of 16 rows.

Those that a checkpoint stores so are kept; floats that `--dtype` wants so are rounded first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.ggml import block_types as ggml_types
from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.checkpoint.ggml.places import TABLES, as_places
from ftllm_nb.kernels.activation_rows import SUMS_GROUP
from ftllm_nb.kernels.blocks.block_type import PART_COLUMNS, BlockType
from ftllm_nb.kernels.blocks.lookup import block_embedding_kernel
from ftllm_nb.kernels.blocks.matmul import block_expert_kernel, block_linear_kernel, block_scratch_bytes
from ftllm_nb.kernels.blocks.quantize import quantize_blocks_kernel
from ftllm_nb.kernels.blocks.repack import repack_blocks_kernel
from ftllm_nb.kernels.blocks.types import block_types
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.quant.activations import Int8Form
from ftllm_nb.quant.base import WeightFormat
from ftllm_nb.quant.floats import SOURCE_KINDS
from ftllm_nb.quant.integers import has_room
from ftllm_nb.quantized_type import ElementType


@dataclass(frozen=True)
class BlockFormat(WeightFormat):
    """Weights of a block type that has kernels."""

    name: str

    @staticmethod
    def has(name: str) -> bool:
        """Whether a block type has kernels; in small letters, as `--dtype` names it, too."""
        return name.upper() in block_types()

    @staticmethod
    def float_type(name: str) -> str:
        """The narrowest type of floats that holds all numbers of a block type, of those that have no kernels."""
        return "bfloat16" if name == "NVFP4" else "float32"

    @property
    def converts(self) -> bool:
        """Whether `pack_kernel` reads other blocks than those that are stored."""
        return self.name in TABLES

    def source(self, raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What `pack_kernel` reads, of rows as they are stored, uint8 [rows, bytes of a row]."""
        return as_places(self.name, raw) if self.converts else raw

    @property
    def type(self) -> BlockType:
        """What kernels know of it."""
        return block_types()[self.stored_name]

    @property
    def stored_name(self) -> str:
        """The type's name in files."""
        return self.name

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
        return repack_blocks_kernel(self.stored_name)

    def linear_kernel(self) -> Kernel:
        return block_linear_kernel(self.stored_name)

    def expert_linear_kernel(self) -> Kernel:
        return block_expert_kernel(self.stored_name)

    def linear_scratch_bytes(self, columns: int) -> int:
        return block_scratch_bytes(self.stored_name)

    def embedding_kernel(self) -> Kernel:
        return block_embedding_kernel(self.stored_name)

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return weights


@dataclass(frozen=True)
class RoundedBlocks(BlockFormat):
    """Float weights are rounded to blocks of this type while they load; `--dtype` names it in small letters."""

    @property
    def stored_name(self) -> str:
        """The type's name in files."""
        return self.name.upper()

    def quantizer(self) -> Kernel:
        """The kernel that makes blocks of a matrix."""
        return quantizer(self.stored_name)

    def has_room(self, blocks: NDArray[np.uint8]) -> bool:
        """Whether some float16 of a matrix in blocks, of those that scales are multiplied by, is not too small."""
        at = self.type.float16_at[0]
        factors = blocks.reshape(-1, self.type.block_bytes)[:, at : at + 2]
        return has_room(np.abs(np.ascontiguousarray(factors).view(np.float16)))

    def fitting(self, columns: int) -> str:
        """The name of this type, or of the next that rows of so many numbers can have, as fine at least."""
        return fitting_type(self.name, columns)

    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        return dequantize(self.stored_name, blocks_of(self.stored_name, weights, "float32"))


COARSER_ROWS = {
    "iq4_xs": "iq4_nl", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "int8g32",
    "iq4_nl": "int4g32", "q4_0": "int4g32", "q4_1": "int4g32", "q5_0": "int8g32", "q5_1": "int8g32",
}  # fmt: skip
"""By type: that of rows whose numbers are no multiple of its blocks'. As llama.cpp chooses, where it has one."""
_NUMBERS_AT_ONCE = 1 << 20


def fitting_type(name: str, columns: int) -> str:
    """The name of a type of `--dtype`, or, of a block type, of the next that rows of so many numbers can have, as fine
    at least."""
    while name in COARSER_ROWS and columns % ggml_types()[name.upper()].columns:
        name = COARSER_ROWS[name]
    return name


def quantizer(name: str) -> Kernel:
    """The kernel with which `blocks_of` makes blocks of a type."""
    type = ggml_types()[name]
    return quantize_blocks_kernel(name, type.columns, type.nbytes)


def blocks_of(
    name: str,
    weights: NDArray[Any],
    source: ElementType,
    importance: NDArray[np.float32] | None = None,
    threads: int = 1,
) -> NDArray[np.uint8]:
    """A matrix [rows, columns] of checkpoint type `source` (bfloat16 as its bits) in blocks of ggml's type `name`, as
    files have them: uint8 [rows, bytes of a row].

    `importance` [columns]: how much each input counts, such as its mean square; None: alike, and see
    kernels/blocks/search.py. Raises `ValueError` where numbers are not finite, or their scales are too large for
    float16.
    """
    type, (rows, columns) = ggml_types()[name], weights.shape
    kernel, weights, kind = quantizer(name), np.ascontiguousarray(weights), SOURCE_KINDS[source]
    out = np.empty((rows, columns // type.columns * type.nbytes), np.uint8)
    at_once = max(1, _NUMBERS_AT_ONCE // max(1, columns))
    counts = None if importance is None else np.ascontiguousarray(importance, np.float32)

    def make(first: int) -> int:
        part, target = weights[first : first + at_once], out[first : first + at_once]
        place = 0 if counts is None else counts.ctypes.data
        return int(kernel(part.ctypes.data, kind, len(part), columns, place, target.ctypes.data))

    with ThreadPoolExecutor(threads, "ftllm-nb quantizer") as pool:
        if any(pool.map(make, range(0, rows, at_once))):
            raise ValueError(f"holds numbers that are not finite, or too large for {name.lower()}")
    return out

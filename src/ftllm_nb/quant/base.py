"""What a weight format is, and the float formats' common form."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from ftllm_nb.errors import UsageError
from ftllm_nb.kernels.compile import Kernel
from ftllm_nb.kernels.embedding import embedding_kernel
from ftllm_nb.kernels.matmul import linear_kernel
from ftllm_nb.kernels.matmul_tile import BFLOAT16, FLOAT16, FLOAT32, WEIGHT_BYTES
from ftllm_nb.kernels.pack import pack_kernel
from ftllm_nb.quant import weight_formats

BLOCK_ROWS = 16
"""Rows of a block: the lanes of a vector."""

SOURCE_KINDS = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}
"""The types that a checkpoint's weights may have."""


@dataclass(frozen=True)
class FloatFormat:
    """Weights as floats of one type, in blocks `[rows/16][columns][16]`.

    The kernels' rows are those of kernels/pack.py, matmul.py and embedding.py.
    """

    name: str
    kind: int

    def packed_bytes(self, rows: int, columns: int) -> int:
        """Bytes of a packed [rows, columns] matrix, rows padded to a multiple of 16."""
        return -(-rows // BLOCK_ROWS) * BLOCK_ROWS * columns * WEIGHT_BYTES[self.kind]

    def pack_kernel(self, source: str) -> Kernel:
        """Packs a row-major matrix of checkpoint type `source`."""
        return pack_kernel(SOURCE_KINDS[source], self.kind)

    def linear_kernel(self) -> Kernel:
        """Multiplies activations by packed weights."""
        return linear_kernel(self.kind)

    def embedding_kernel(self) -> Kernel:
        """Reads rows of packed weights by token id."""
        return embedding_kernel(self.kind)


def weight_format(name: str) -> FloatFormat:
    """The format of that name; raises `UsageError` that lists the known ones."""
    known = weight_formats()
    if name not in known:
        raise UsageError(f'"{name}" is no weight type; known are auto, {", ".join(known)}')
    format: FloatFormat = importlib.import_module(f"ftllm_nb.quant.{name}").FORMAT
    return format

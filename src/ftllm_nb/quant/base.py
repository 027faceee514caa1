"""What a weight format is, and the two kinds that there are: floats, and integers with scales."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import UsageError
from ftllm_nb.quant import weight_formats
from ftllm_nb.quant.activations import ActivationForm
from ftllm_nb.quant.families import families
from ftllm_nb.quantized_type import ElementType

if TYPE_CHECKING:
    from ftllm_nb.kernels.compile import Kernel

BLOCK_ROWS = 16
"""Rows of a block: the lanes of a vector."""



class WeightFormat(ABC):
    """How a matrix [rows, columns] lies in memory, and the kernels that make it and multiply by it.

    It lies in blocks of 16 rows. The kernels' rows are those of kernels/pack.py, tiling.py and embedding.py.
    """

    name: str
    activations: ActivationForm | None
    """None: products take float32 activations as they are."""

    def rounding_activations(self) -> WeightFormat:
        """The same weights, for products that round activations to bfloat16 where that is faster."""
        return self

    @abstractmethod
    def padded_columns(self, columns: int) -> int:
        """Columns of the packed matrix."""

    @abstractmethod
    def block_bytes(self, columns: int) -> int:
        """Bytes of a block of 16 rows."""

    def packed_bytes(self, rows: int, columns: int) -> int:
        """Bytes of a packed matrix, rows padded to a multiple of 16."""
        return -(-rows // BLOCK_ROWS) * self.block_bytes(columns)

    @abstractmethod
    def pack_scratch_bytes(self, columns: int) -> int:
        """Private memory that a worker needs while it packs."""

    @abstractmethod
    def pack_kernel(self, source: ElementType) -> Kernel:
        """Packs a row-major matrix of checkpoint type `source`."""

    @abstractmethod
    def linear_kernel(self) -> Kernel:
        """Multiplies activations by packed weights."""

    @abstractmethod
    def expert_linear_kernel(self) -> Kernel:
        """The same, of each slot and its expert's weights: kernels/experts.py."""

    def for_rows(self) -> WeightFormat:
        """The same numbers in a form whose products read activations row by row, as experts' do."""
        return self

    @abstractmethod
    def linear_scratch_bytes(self, columns: int) -> int:
        """Private memory that a worker needs for that."""

    @abstractmethod
    def embedding_kernel(self) -> Kernel:
        """Reads rows of packed weights by token id."""

    @abstractmethod
    def rounded(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """The float32 values that a matrix [rows, columns] has in this format: the format's definition, in NumPy."""


def weight_format(name: str) -> WeightFormat:
    """The format of the type that `--dtype` names so; raises `UsageError` that lists the known ones."""
    for family in families():
        if name in family.TYPES:
            format: WeightFormat = family.make(name)
            return format
    raise UsageError(f'"{name}" is no weight type; known are auto, {", ".join(weight_formats())}')

"""A quantized matrix of another tool's folder: what it is shown as, and how its numbers are got at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredIntegers, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.codes import scaled_floats
from ftllm_nb.checkpoint.foreign.groups import in_input_order
from ftllm_nb.checkpoint.ggml import dequantize
from ftllm_nb.checkpoint.integers import stand_for
from ftllm_nb.quantized_type import QuantizedType, ScaledType


class ForeignMatrix(ABC):
    """A matrix that several tensors stand for. `info`: the one that it is shown as; `parts`: their names.

    `grows`: whether it takes more memory than in its file, since no type holds its numbers in as few bits.
    `order`, int32 [columns], where its columns lie in another order than inputs have, which products want permuted:
    column i of `integers` is column order[i] of `floats`.
    """

    info: TensorInfo
    parts: Sequence[str]
    order: NDArray[np.int32] | None = None
    grows: bool = False

    @abstractmethod
    def floats(self) -> NDArray[Any]:
        """What the numbers stand for: float32, or of the info's type where that is one of floats."""

    def integers(self) -> StoredIntegers | None:
        """Numbers and scales of a matrix of whole numbers, None for others."""
        return None

    def blocks(self) -> NDArray[np.uint8] | None:
        """Rows of ggml's blocks, uint8 [rows, bytes of a row], of a matrix or a stack of them; None for others."""
        return None

    def scaled(self) -> StoredScaled | None:
        """Codes and scales, None for matrices that have none."""
        return None


class IntegerMatrix(ForeignMatrix):
    """A matrix of whole numbers; `read` gets them."""

    def __init__(
        self,
        info: TensorInfo,
        parts: Sequence[str],
        read: Callable[[], StoredIntegers],
        order: NDArray[np.int32] | None = None,
        grows: bool = False,
    ) -> None:
        self.info = info
        self.parts = parts
        self.order = order
        self.grows = grows
        self._read = read

    def integers(self) -> StoredIntegers:
        """See `ForeignMatrix`."""
        return self._read()

    def floats(self) -> NDArray[np.float32]:
        """See `ForeignMatrix`."""
        assert isinstance(self.info.dtype, QuantizedType)
        found = stand_for(self.integers(), self.info.dtype, self.info.shape[1])
        return found if self.order is None else in_input_order(found, self.order)


class BlockMatrix(ForeignMatrix):
    """A matrix in one of ggml's block types, or a stack of them; `read` gets the blocks."""

    def __init__(self, info: TensorInfo, parts: Sequence[str], read: Callable[[], NDArray[np.uint8]]) -> None:
        self.info = info
        self.parts = parts
        self._read = read

    def blocks(self) -> NDArray[np.uint8]:
        """See `ForeignMatrix`."""
        return self._read()

    def floats(self) -> NDArray[np.float32]:
        """See `ForeignMatrix`."""
        return dequantize(str(self.info.dtype), self.blocks()).reshape(self.info.shape)


class ScaledMatrix(ForeignMatrix):
    """A matrix of codes that are floats; `read` gets them."""

    def __init__(
        self, info: TensorInfo, parts: Sequence[str], read: Callable[[], StoredScaled], grows: bool = False
    ) -> None:
        self.info = info
        self.parts = parts
        self.grows = grows
        self._read = read

    def scaled(self) -> StoredScaled:
        """See `ForeignMatrix`."""
        return self._read()

    def floats(self) -> NDArray[np.float32]:
        """See `ForeignMatrix`."""
        assert isinstance(self.info.dtype, ScaledType)
        return scaled_floats(self.scaled(), self.info.dtype, self.info.shape[1])


class PlainMatrix(ForeignMatrix):
    """Floats of the info's type, which `read` gives."""

    def __init__(self, info: TensorInfo, parts: Sequence[str], read: Callable[[], NDArray[Any]]) -> None:
        self.info = info
        self.parts = parts
        self._read = read

    def floats(self) -> NDArray[Any]:
        """See `ForeignMatrix`."""
        return self._read()


class FloatMatrix(PlainMatrix):
    """The same of a quantized matrix that no type with scales holds."""

    grows = True

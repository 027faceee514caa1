"""A quantized matrix of another tool's folder: what it is shown as, and how its numbers are got at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import StoredIntegers, TensorInfo
from ftllm_nb.checkpoint.integers import stand_for
from ftllm_nb.quantized_type import QuantizedType


class ForeignMatrix(ABC):
    """A matrix that several tensors stand for. `info`: the one that it is shown as; `parts`: their names.

    `order`, int32 [columns], where its columns lie in another order than inputs have, which products want permuted:
    column i of `integers` is column order[i] of `floats`.
    """

    info: TensorInfo
    parts: Sequence[str]
    order: NDArray[np.int32] | None = None

    @abstractmethod
    def floats(self) -> NDArray[Any]:
        """What the numbers stand for: float32, or of the info's type where that is one of floats."""

    def integers(self) -> StoredIntegers | None:
        """Numbers and scales of a matrix of whole numbers, None for others."""
        return None


class IntegerMatrix(ForeignMatrix):
    """A matrix of whole numbers; `read` gets them."""

    def __init__(
        self,
        info: TensorInfo,
        parts: Sequence[str],
        read: Callable[[], StoredIntegers],
        order: NDArray[np.int32] | None = None,
    ) -> None:
        self.info = info
        self.parts = parts
        self.order = order
        self._read = read

    def integers(self) -> StoredIntegers:
        """See `ForeignMatrix`."""
        return self._read()

    def floats(self) -> NDArray[np.float32]:
        """See `ForeignMatrix`."""
        assert isinstance(self.info.dtype, QuantizedType)
        found = stand_for(self.integers(), self.info.dtype, self.info.shape[1])
        if self.order is None:
            return found
        ordered = np.empty_like(found)
        ordered[:, self.order] = found
        return ordered


class FloatMatrix(ForeignMatrix):
    """A matrix that no type with scales holds; `read` gives its floats, of the info's type."""

    def __init__(self, info: TensorInfo, parts: Sequence[str], read: Callable[[], NDArray[Any]]) -> None:
        self.info = info
        self.parts = parts
        self._read = read

    def floats(self) -> NDArray[Any]:
        """See `ForeignMatrix`."""
        return self._read()

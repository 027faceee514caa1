"""What choosing a type for each matrix asks of a job."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.quantization.calibration.moments import Moments

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Unit:
    """A matrix whose type is chosen: the tensors of the model that it is made of, its numbers, and the bits that it
    takes in each type."""

    tensors: tuple[str, ...]
    weights: int
    bits: Mapping[str, float]

    @property
    def smallest(self) -> str:
        """The type that takes the fewest bits."""
        return min(self.bits, key=self.bits.__getitem__)


class Rounder(ABC):
    """Rounds matrices to the types of a form of output."""

    @abstractmethod
    def rounded(self, dtype: str, weights: Floats, moments: Moments, method: str) -> Floats:
        """The weights that a matrix [rows, columns] has in a type. Raises `ValueError`, "holds …", for numbers that
        are not finite or too large."""


def largest_within(bits: float, sizes: Mapping[str, float], weights: int) -> str:
    """The type that takes the most of the bits that there are for a matrix of so many weights. `sizes`: bits in all."""
    fitting = {dtype: size for dtype, size in sizes.items() if size <= bits * weights}
    if not fitting:
        least = min(sizes.values()) / weights
        raise UsageError(f"--embedding_bits {bits:g} cannot be: the smallest type takes {least:.3f} bits a weight.")
    return max(fitting, key=fitting.__getitem__)


class Mixable(ABC):
    """A job whose matrices may have a type each."""

    checkpoint: Checkpoint
    graph: CheckedGraph
    windows: list[NDArray[np.int32]]

    @abstractmethod
    def check_place(self, out: Path, replace: bool) -> None:
        """Raise `UsageError` where it cannot be made there."""

    @abstractmethod
    def units(self) -> list[Unit]:
        """The matrices of layers whose inputs are known; not those that rules name."""

    @abstractmethod
    def table_rules(self, bits: float) -> dict[str, str]:
        """The largest types of at most so many bits a weight for embeddings and the matrix that makes logits, by
        tensor. Raises `UsageError` where there are none."""

    @abstractmethod
    def rounder(self, threads: int) -> AbstractContextManager[Rounder]:
        """What rounds to the types of its form."""

    @abstractmethod
    def identity(self) -> str:
        """A hash of all that the result depends on."""

"""A checkpoint whose quantized matrices, several tensors each, are shown as one tensor each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, StoredIntegers, StoredScaled, TensorInfo
from ftllm_nb.checkpoint.foreign.matrix import ForeignMatrix
from ftllm_nb.checkpoint.foreign.notes import growth_notes
from ftllm_nb.checkpoint.safetensors import stored_name


class ForeignCheckpoint(Checkpoint):
    """Another checkpoint and the matrices that its tensors stand for; made by `open_checkpoint`."""

    def __init__(self, stored: Checkpoint, matrices: Iterable[ForeignMatrix]) -> None:
        self.path = stored.path
        self.config = stored.config
        self.generation_config = stored.generation_config
        self.tokenizer_config = stored.tokenizer_config
        self._stored = stored
        self._matrices = {matrix.info.name: matrix for matrix in matrices}
        of_matrices = {name for matrix in self._matrices.values() for name in matrix.parts}
        self.tensors: dict[str, TensorInfo] = {
            name: dataclasses.replace(info, stored=stored_name(str(info.dtype)))
            for name, info in stored.tensors.items()
            if name not in of_matrices
        }
        self.tensors.update((name, matrix.info) for name, matrix in self._matrices.items())
        self.notes = growth_notes(
            (matrix.info.stored, matrix.info.dtype) for matrix in self._matrices.values() if matrix.grows
        )

    def read(self, name: str) -> NDArray[Any]:
        """The tensor; a quantized matrix as what its numbers stand for."""
        matrix = self._matrices.get(name)
        if matrix is None:
            return self._stored.read(name)
        found = matrix.floats()
        found.flags.writeable = False
        return found

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """See `Checkpoint.read_into`."""
        if name in self._matrices:
            super().read_into(name, start, target)
        else:
            self._stored.read_into(name, start, target)

    def read_integers(self, name: str) -> StoredIntegers:
        """See `Checkpoint.read_integers`."""
        matrix = self._matrices.get(name)
        found = None if matrix is None else matrix.integers()
        return super().read_integers(name) if found is None else found

    def read_blocks(self, name: str) -> NDArray[np.uint8]:
        """See `Checkpoint.read_blocks`."""
        matrix = self._matrices.get(name)
        found = None if matrix is None else matrix.blocks()
        return super().read_blocks(name) if found is None else found

    def read_scaled(self, name: str) -> StoredScaled:
        """See `Checkpoint.read_scaled`."""
        matrix = self._matrices.get(name)
        found = None if matrix is None else matrix.scaled()
        return super().read_scaled(name) if found is None else found

    def column_order(self, name: str) -> NDArray[np.int32] | None:
        """See `Checkpoint.column_order`."""
        matrix = self._matrices.get(name)
        return None if matrix is None else matrix.order

    def release(self, name: str) -> None:
        """Give back the pages of the tensor, or of all that a matrix consists of."""
        matrix = self._matrices.get(name)
        for part in [name] if matrix is None else matrix.parts:
            self._stored.release(part)

    def close(self) -> None:
        """Close the checkpoint below."""
        self._stored.close()

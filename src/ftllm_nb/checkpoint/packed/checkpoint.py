"""A checkpoint of packed matrices, shown with the shapes and types of the matrices that they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.checksum import checksum
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.checkpoint.packed.blocks import KeptForm
from ftllm_nb.checkpoint.packed.header import read_header
from ftllm_nb.errors import CheckpointError


class PackedCheckpoint(Checkpoint):
    """Another checkpoint, its tensors of bytes taken for the matrices of the header; made by `open_checkpoint`."""

    def __init__(self, stored: Checkpoint) -> None:
        """Check the header against the files' own; CheckpointError names the tensor that does not fit."""
        self.path = stored.path
        self.config = stored.config
        self.generation_config = stored.generation_config
        self.tokenizer_config = stored.tokenizer_config
        self._stored = stored
        self._matrices = read_header(stored.config, str(stored.path / "config.json"))
        tensors = dict(stored.tensors)
        for name, matrix in self._matrices.items():
            info, shape = tensors.get(name), matrix.stored_shape
            if info is None:
                raise CheckpointError(f"{self.path} lacks the tensor {shown(name)}, which config.json names as packed.")
            if info.dtype != "U8" or info.shape != shape:
                raise CheckpointError(
                    f"{self.path}: tensor {shown(name)} has the shape {list(info.shape)} of {info.dtype}, but "
                    f"{list(shape)} of U8 were expected for a matrix of {list(matrix.shape)} in the type "
                    f"{matrix.form.type}: the files do not belong together."
                )
            tensors[name] = TensorInfo(name, matrix.shape, matrix.form.type, info.nbytes)
        self.tensors = tensors

    def read(self, name: str) -> NDArray[Any]:
        """The tensor; a packed matrix as the float32 that its numbers stand for."""
        stored, matrix = self._stored.read(name), self._matrices.get(name)
        if matrix is None:
            return stored
        if isinstance(matrix.form, KeptForm):
            raise CheckpointError(
                f"{self.path}: tensor {shown(name)} is packed in blocks of {matrix.form.type}, which kernels alone "
                "read: give the GGUF file that the folder was made of."
            )
        self.check_sum(name, checksum(stored))
        *count, rows, columns = matrix.shape
        each = (matrix.form.unpack(blocks, rows, columns) for blocks in np.split(stored, math.prod(count)))
        return np.concatenate(list(each)).reshape(matrix.shape)

    def is_packed(self, name: str) -> bool:
        """Whether the header names the tensor."""
        return name in self._matrices

    def check_sum(self, name: str, found: int) -> None:
        """See `Checkpoint.check_sum`."""
        if found != self._matrices[name].checksum:
            raise CheckpointError(
                f"{self.path}: the bytes of tensor {shown(name)} do not bear out the checksum in config.json: its file "
                "is damaged, so copy it again, or make it again with ftllm-nb quantize --format packed."
            )

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """See `Checkpoint.read_into`; of a packed matrix, bytes of its blocks."""
        self._stored.read_into(name, start, target)

    def mapped(self, name: str) -> NDArray[np.uint8]:
        """See `Checkpoint.mapped`."""
        return self._stored.read(name) if name in self._matrices else super().mapped(name)

    def require_unchanged(self) -> None:
        """See `Checkpoint.require_unchanged`."""
        self._stored.require_unchanged()

    def release(self, name: str) -> None:
        """Give back the tensor's pages."""
        self._stored.release(name)

    def close(self) -> None:
        """Unmap all files."""
        self._stored.close()

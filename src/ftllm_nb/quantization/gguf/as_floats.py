"""A GGUF file as a folder of floats: what matrices of blocks stand for, and the files that a folder has beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.base import StoredIntegers
from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint
from ftllm_nb.quant.blocks import BlockFormat
from ftllm_nb.quantized_type import BlockedType, ElementType, QuantizedType, is_quantized
from ftllm_nb.tokenizer.gguf.folder import tokenizer_files

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class FloatCheckpoint(Checkpoint):
    """A GGUF file's model whose matrices are all floats; a matrix that is read stays in memory until another is.

    `keep`: matrices whose blocks the engine keeps in memory are left as they are. `rounded`: the types of the matrices
    that were none, by name.
    """

    def __init__(self, file: GgufCheckpoint, keep: bool = False) -> None:
        self.path = file.path
        self.config = file.config
        self.generation_config = file.generation_config
        self.tokenizer_config = {}
        self.tokenizer_metadata = file.tokenizer_metadata
        self._file = file
        self._last: tuple[str, NDArray[np.uint8]] | None = None
        kept = {name for name, info in file.tensors.items() if keep and _is_kept_in_memory(info.dtype)}
        rounded = [info for info in file.tensors.values() if is_quantized(info.dtype) and info.name not in kept]
        self.rounded = {info.name: info.stored for info in rounded}
        self.tensors = {name: info if name in kept else _as_floats(info) for name, info in file.tensors.items()}

    def read(self, name: str) -> NDArray[Any]:
        """See `Checkpoint.read`."""
        return self._file.read(name)

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """See `Checkpoint.read_into`."""
        if self._last is None or self._last[0] != name:
            self._last = None  # before the next one takes memory
            self._last = name, np.ascontiguousarray(self.read(name)).reshape(-1).view(np.uint8)
            self._file.release(name)
        target.reshape(-1)[:] = self._last[1][start : start + target.size]

    def read_integers(self, name: str) -> StoredIntegers:
        """See `Checkpoint.read_integers`."""
        return self._file.read_integers(name)

    def read_blocks(self, name: str) -> NDArray[np.uint8]:
        """See `Checkpoint.read_blocks`."""
        return self._file.read_blocks(name)

    def release(self, name: str) -> None:
        """See `Checkpoint.release`."""
        self._file.release(name)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _is_kept_in_memory(dtype: ElementType) -> bool:
    return isinstance(dtype, QuantizedType) or (isinstance(dtype, BlockedType) and BlockFormat.has(dtype.name))


def _as_floats(info: TensorInfo) -> TensorInfo:
    dtype = "float32" if is_quantized(info.dtype) else info.dtype
    size = math.prod(info.shape) * _BYTES[dtype] if dtype in _BYTES else info.nbytes
    return TensorInfo(info.name, info.shape, dtype, size)


def as_floats(checkpoint: Checkpoint, *, keep: bool = False) -> Checkpoint:
    """A GGUF file's checkpoint as that of a folder of floats; others as they are. `keep`: see `FloatCheckpoint`."""
    return FloatCheckpoint(checkpoint, keep) if isinstance(checkpoint, GgufCheckpoint) else checkpoint


def folder_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """What a folder has beside weights and config.json, of a model whose tokenizer is metadata; {} for others."""
    if checkpoint.tokenizer_metadata is None:
        return {}
    files, ends = tokenizer_files(checkpoint.tokenizer_metadata, str(checkpoint.path))
    generation = {**checkpoint.generation_config, "eos_token_id": ends}
    return {**files, "generation_config.json": (json.dumps(generation, indent=2) + "\n").encode()}


def rounded_twice(kinds: Iterable[str]) -> list[str]:
    """A sentence on matrices of these types, which are rounded again; [] for none."""
    names = ", ".join(sorted(set(kinds)))
    return [f"matrices of {names} are rounded once more, which loses more than rounding floats."] if names else []

"""A checkpoint whose tensors a test holds in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, TensorInfo


class MemoryCheckpoint(Checkpoint):
    """float32 and float16 arrays by name; uint16 ones are the bits of bfloat16. `released`: what was given back."""

    def __init__(self, config: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self.path = Path("memory")
        self.config = config
        self.generation_config = {}
        self.tokenizer_config = {}
        self.arrays = dict(arrays)
        self.tensors = {
            name: TensorInfo(name, array.shape, _TYPES[str(array.dtype)], array.nbytes)
            for name, array in arrays.items()
        }
        self.reads: list[str] = []
        self.released: list[str] = []

    def read(self, name: str) -> NDArray[Any]:
        self.reads.append(name)
        return self.arrays[name]

    def release(self, name: str) -> None:
        self.released.append(name)

    def close(self) -> None:
        pass


_TYPES = {"float32": "float32", "float16": "float16", "uint16": "bfloat16"}


def normal(seed: int, *shape: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Seeded normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(scale)

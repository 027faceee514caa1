"""A checkpoint of random weights of given shapes: nothing on disk, to measure speed on any configuration."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.base import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.bfloat16 import float32_as_bfloat16
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError, UsageError

STANDARD_DEVIATION = 0.02
"""Of all values but norms: about that of a trained model's weights."""

_ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# A prime number of values: the rows of a matrix then begin at different places of the block.
_BLOCK_VALUES = 1_048_573


class RandomCheckpoint(Checkpoint):
    """Tensors made when they are read: normal with `STANDARD_DEVIATION`, or 1 for one-dimensional norms.

    The same seed and name give the same values at every read. Tensors are copies of one random block, each
    begun at its own place, so that making one costs little more than writing it.
    """

    def __init__(
        self,
        config: dict[str, Any],
        shapes: Mapping[str, tuple[int, ...]],
        dtype: str = "bfloat16",
        seed: int = 0,
    ) -> None:
        """`shapes`: tensor name → shape; `dtype`: "float32", "float16" or "bfloat16", else UsageError."""
        if dtype not in _ITEM_BYTES:
            raise UsageError(f"random weights are of type {', '.join(_ITEM_BYTES)}, not {shown(dtype)}.")
        self.path = Path("random")
        self.config = config
        self.generation_config = {}
        self.tokenizer_config = {}
        self.tensors = {
            name: TensorInfo(name, tuple(shape), dtype, math.prod(shape) * _ITEM_BYTES[dtype])
            for name, shape in shapes.items()
        }
        self._seed = seed
        normal = np.random.default_rng(seed).standard_normal(_BLOCK_VALUES, np.float32)
        self._block = _as_stored(normal * np.float32(STANDARD_DEVIATION), dtype)
        self._one = _as_stored(np.ones(1, np.float32), dtype)

    def read(self, name: str) -> NDArray[Any]:
        """A fresh array of the tensor's values; bfloat16 as its bits in uint16."""
        info = self.tensors.get(name)
        if info is None:
            raise CheckpointError(f"the random weights hold no tensor named {shown(name)}.")
        array = np.empty(info.shape, self._block.dtype)
        if "norm" in name and len(info.shape) == 1:
            array[...] = self._one
        else:
            self._fill(array.reshape(-1), name)
        array.flags.writeable = False
        return array

    def _fill(self, values: NDArray[Any], name: str) -> None:
        digest = hashlib.blake2b(f"{self._seed}/{name}".encode(), digest_size=8).digest()
        offset = int.from_bytes(digest, "little") % _BLOCK_VALUES
        filled = 0
        while filled < values.size:
            piece = self._block[offset : offset + values.size - filled]
            values[filled : filled + piece.size] = piece
            filled += piece.size
            offset = 0

    def release(self, name: str) -> None:
        """Nothing to do: the array that `read` returned is the only copy."""

    def close(self) -> None:
        """Nothing to do."""


def _as_stored(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    return float32_as_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype)

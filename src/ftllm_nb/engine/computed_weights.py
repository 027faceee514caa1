"""A checkpoint together with the weights that a graph computes from its tensors: engines read both alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.base import StoredIntegers, StoredScaled
from ftllm_nb.graph.ir import CheckedGraph, Value
from ftllm_nb.graph.weight_values import computed_array

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def with_computed_weights(checkpoint: Checkpoint, graph: CheckedGraph) -> Checkpoint:
    """The checkpoint, and under their names the weights that the graph computes; itself where there are none."""
    computed = {value.name: value for value in graph.weights.values() if value.computed is not None}
    return _WithComputed(checkpoint, computed) if computed else checkpoint


class _WithComputed(Checkpoint):
    def __init__(self, checkpoint: Checkpoint, computed: dict[str, Value]) -> None:
        self._checkpoint, self._computed = checkpoint, computed
        self.path, self.config = checkpoint.path, checkpoint.config
        self.generation_config, self.tokenizer_config = checkpoint.generation_config, checkpoint.tokenizer_config
        self.tensors = {**checkpoint.tensors, **{name: _info(value) for name, value in computed.items()}}

    def read(self, name: str) -> NDArray[Any]:
        if name not in self._computed:
            return self._checkpoint.read(name)
        value = self._computed[name]
        return computed_array(value, self._checkpoint.read(value.tensor), self.tensors[value.tensor].dtype)

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        self._checkpoint.read_into(name, start, target)

    def read_integers(self, name: str) -> StoredIntegers:
        return self._checkpoint.read_integers(name)

    def read_blocks(self, name: str) -> NDArray[np.uint8]:
        """See `Checkpoint.read_blocks`."""
        return self._checkpoint.read_blocks(name)

    def read_scaled(self, name: str) -> StoredScaled:
        """See `Checkpoint.read_scaled`."""
        return self._checkpoint.read_scaled(name)

    def column_order(self, name: str) -> NDArray[np.int32] | None:
        """See `Checkpoint.column_order`; what is computed has the inputs' order."""
        return None if name in self._computed else self._checkpoint.column_order(name)

    def is_packed(self, name: str) -> bool:
        return name not in self._computed and self._checkpoint.is_packed(name)

    def check_sum(self, name: str, found: int) -> None:
        self._checkpoint.check_sum(name, found)

    def mapped(self, name: str) -> NDArray[np.uint8]:
        return self._checkpoint.mapped(name)

    def require_unchanged(self) -> None:
        self._checkpoint.require_unchanged()

    def release(self, name: str) -> None:
        self._checkpoint.release(self._computed[name].tensor if name in self._computed else name)

    def close(self) -> None:
        self._checkpoint.close()


def _info(value: Value) -> TensorInfo:
    shape = tuple(value.type.size(axis) for axis in range(value.type.rank))
    return TensorInfo(value.name, shape, value.type.dtype, _BYTES[str(value.type.dtype)] * math.prod(shape))

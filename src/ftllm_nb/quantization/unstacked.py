"""Experts that a checkpoint holds as stacks, as matrices of their own: what compressed-tensors and vLLM have.

So each is quantized by itself, by any method, and a layer's gate and up are two matrices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.checkpoint.base import StoredIntegers
from ftllm_nb.graph.ir import CheckedGraph, Node
from ftllm_nb.graph.weight_steps import Transposed
from ftllm_nb.ops.merge_moe import MergeMOE, gates_and_ups
from ftllm_nb.quantization.gguf.as_floats import FloatCheckpoint
from ftllm_nb.quantized_type import is_quantized

_PARTS = {"gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


@dataclass(frozen=True)
class _Place:
    """An expert's part of a stack: `rows` of its matrix, after it was turned if `is_turned`; of a bias its numbers."""

    stack: str
    expert: int
    rows: slice
    is_turned: bool
    is_last: bool


class UnstackedCheckpoint(Checkpoint):
    """Another checkpoint, its stacks of experts cut into matrices; made by `unstacked`. `rounded`: see
    `FloatCheckpoint`."""

    def __init__(self, stored: Checkpoint, places: Mapping[str, _Place]) -> None:
        self.path = stored.path
        self.config = stored.config
        self.generation_config = stored.generation_config
        self.tokenizer_config = stored.tokenizer_config
        self.tokenizer_metadata = stored.tokenizer_metadata
        self._stored, self._places = stored, places
        self._last: tuple[str, NDArray[np.uint8]] | None = None
        stacks = {place.stack for place in places.values()}
        rounded = stored.rounded if isinstance(stored, FloatCheckpoint) else {}
        self.rounded = {name: kind for name, kind in rounded.items() if name not in stacks}
        self.rounded |= {name: rounded[each.stack] for name, each in places.items() if each.stack in rounded}
        self.tensors = {name: info for name, info in stored.tensors.items() if name not in stacks}
        self.tensors |= {name: self._info(name, place) for name, place in places.items()}

    def _info(self, name: str, place: _Place) -> TensorInfo:
        whole = self._stored.tensors[place.stack]
        shape = whole.shape[:0:-1] if place.is_turned else whole.shape[1:]
        shape = (len(range(*place.rows.indices(shape[0]))), *shape[1:])
        return TensorInfo(name, shape, whole.dtype, whole.nbytes // math.prod(whole.shape) * math.prod(shape))

    def read(self, name: str) -> NDArray[Any]:
        """See `Checkpoint.read`."""
        place = self._places.get(name)
        if place is None:
            return self._stored.read(name)
        matrix: NDArray[Any] = self._stored.read(place.stack)[place.expert]
        return np.asarray((matrix.T if place.is_turned else matrix)[place.rows])

    def read_into(self, name: str, start: int, target: NDArray[np.uint8]) -> None:
        """See `Checkpoint.read_into`."""
        if name not in self._places:
            self._stored.read_into(name, start, target)
            return
        if self._last is None or self._last[0] != name:
            self._last = None  # before the next one takes memory
            self._last = name, np.ascontiguousarray(self.read(name)).reshape(-1).view(np.uint8)
        target.reshape(-1)[:] = self._last[1][start : start + target.size]

    def read_integers(self, name: str) -> StoredIntegers:
        """See `Checkpoint.read_integers`."""
        return self._stored.read_integers(name)

    def read_blocks(self, name: str) -> NDArray[np.uint8]:
        """See `Checkpoint.read_blocks`."""
        return self._stored.read_blocks(name)

    def release(self, name: str) -> None:
        """Give back the tensor's pages; those of a stack with its last expert's."""
        place = self._places.get(name)
        if place is None or place.is_last:
            self._stored.release(name if place is None else place.stack)

    def close(self) -> None:
        """Close the checkpoint."""
        self._stored.close()


def unstacked(checkpoint: Checkpoint, graph: CheckedGraph) -> Checkpoint:
    """The checkpoint with each expert's matrices and biases as tensors of their own; itself where it has no stacks."""
    places: dict[str, _Place] = {}
    for node in graph.nodes:
        if node.operator is MergeMOE:
            places.update(_of_mixture(node))
    if not places or any(is_quantized(checkpoint.tensors[place.stack].dtype) for place in places.values()):
        return checkpoint
    return UnstackedCheckpoint(checkpoint, places)


def _of_mixture(node: Node) -> dict[str, _Place]:
    lists, places = MergeMOE.joined(node.inputs), dict[str, _Place]()
    if any(len(lists[name]) != 1 or lists[name][0].type.rank != 3 for name in ("gate", "down")):
        return places
    head = _experts_of(lists["gate"][0].tensor)
    for kind, part in _PARTS.items():
        joined = kind in ("gate", "up") and not lists["up"]
        (matrix,) = lists["gate" if joined else kind]
        computed = () if matrix.computed is None else matrix.computed.steps
        experts, rows, _ = matrix.type.matrices
        chosen = gates_and_ups(node.attributes["gateType"], rows)[kind == "up"] if joined else slice(0, rows)
        biases = lists[f"{'gate' if joined else kind}Bias"]
        for expert in range(experts):
            at, is_last = f"{head}.{expert}.{part}", expert == experts - 1
            places[f"{at}.weight"] = _Place(matrix.tensor, expert, chosen, computed == (Transposed(),), is_last)
            if biases:
                places[f"{at}.bias"] = _Place(biases[expert].tensor, expert, chosen, False, is_last)
    return places


def _experts_of(stack: str) -> str:
    """What the names of experts begin with, by that of a stack."""
    head, dot, _ = stack.rpartition(".experts.")
    return f"{head}.experts" if dot else f"{stack.removesuffix('.weight').rpartition('.')[0]}.experts"

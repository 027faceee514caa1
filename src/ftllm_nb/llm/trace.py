"""What each data of a build() holds while a model reads a text: by name, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ftllm_nb.loading import LoadedModel

    Array = NDArray[np.float32]


@dataclass(frozen=True)
class Written:
    """What one operator wrote: `operator` its name, `index` its place in the graph, from 0, `where` the line of its
    call."""

    name: str
    array: Array
    operator: str
    index: int
    where: str


class Trace(Mapping[str, Any]):
    """`trace["hidden"]` is what was written last under that name, float32 [1, tokens, …]; `writes("hidden")` all that
    was, in order, and `writes()` of all names."""

    def __init__(self, written: list[Written]) -> None:
        self._written = written
        self._last = {each.name: each.array for each in written}

    def __getitem__(self, name: str) -> Array:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def writes(self, name: str | None = None) -> list[Written]:
        """Each time that data was written, in the order of the graph."""
        return [each for each in self._written if name in (None, each.name)]


def trace_of(loaded: LoadedModel, token_ids: list[int]) -> Trace:
    """Of a text's tokens, read at once: each operator's NumPy reference, with the weights as they are in memory."""
    from ftllm_nb.engine.evaluation import evaluate
    from ftllm_nb.engine.float_weights import FloatWeights

    weights = FloatWeights(loaded.checkpoint, loaded.weight_types)
    found = evaluate(loaded.graph, weights, np.asarray(token_ids, np.int32))
    return Trace([
        Written(value.name, found.arrays[value], node.operator.name, node.call.index, node.call.where)
        for node in loaded.graph.nodes
        for value in node.outputs.values()
    ])  # fmt: skip

"""The weights of a graph as float32 arrays, one at a time: what NumPy references read."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.computed_weights import with_computed_weights
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.engine.weight_types import WeightTypes
from ftllm_nb.graph.ir import CheckedGraph, FormatOf, Value
from ftllm_nb.quant.base import WeightFormat

Floats = NDArray[np.float32]

MOST_BYTES = 2 << 30
"""Of weights that are kept for their next reader; those that were read longest ago go first."""


class FloatWeights:
    """Reads the weights of graphs of one checkpoint when they are asked for. `weight_types`: matrices are rounded as
    these hold them; None leaves them as they are stored."""

    def __init__(self, checkpoint: Checkpoint, weight_types: WeightTypes | None = None) -> None:
        self._checkpoint = checkpoint
        self._weight_types = weight_types
        self._formats: dict[int, tuple[CheckedGraph, FormatOf, set[Value]]] = {}
        self._kept: OrderedDict[str, Floats] = OrderedDict()
        self._bytes = 0

    def read(self, graph: CheckedGraph, value: Value) -> Floats:
        """A weight of the graph, in its shape."""
        name = value.name
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        weight = read_float32(with_computed_weights(self._checkpoint, graph), name)
        self._checkpoint.release(value.tensor)
        if self._weight_types is not None:
            if id(graph) not in self._formats:
                self._formats[id(graph)] = (graph, self._weight_types.formats(graph), set(graph.packed))
            _, format_of, packed = self._formats[id(graph)]
            weight = rounded(weight, format_of(value)) if value in packed else weight
        self._kept[name] = weight
        self._bytes += weight.nbytes
        while self._bytes > MOST_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return weight


def rounded(weight: Floats, format: WeightFormat) -> Floats:
    """A matrix, or a stack of them, as the format holds it."""
    return format.rounded(weight.reshape(-1, weight.shape[-1])).reshape(weight.shape)

"""A text's windows go through a model's graph, a layer at a time; inputs of products are summed up on the way.

Of weights one layer's are in memory, of activations what the next layer reads of all windows. A layer is a run of
nodes whose weights have one number in their names; where no names have numbers, all of the graph is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.engine.computed_weights import with_computed_weights
from ftllm_nb.engine.reference_walk import (
    ReferenceCache,
    cached_values,
    evaluate_node,
    graph_inputs,
    rope_tables,
)
from ftllm_nb.engine.weight_loading import read_float32
from ftllm_nb.errors import EngineError
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.ops.base import StepContext
from ftllm_nb.quantization.calibration.moments import Moments

Progress = Callable[[int, int], None]
"""progress(windows done, of how many): each counts once for each layer."""
Captured = dict[str, Moments]
"""What a layer's matrices are multiplied by, by the tensors' names; those that read one value share one object."""


def capture(
    graph: CheckedGraph,
    checkpoint: Checkpoint,
    windows: Sequence[NDArray[np.int32]],
    wanted: set[str],
    *,
    products: bool,
    progress: Progress | None = None,
) -> Iterator[Captured]:
    """Layer by layer the moments of the inputs of the wanted tensors' products; with `products` all of them.

    Tensors that are multiplied by rows which no node writes are left out. Raises `EngineError` where an input is not
    finite.
    """
    walk = Walk(graph, with_computed_weights(checkpoint, graph))
    streams = [Stream(ids) for ids in windows]
    layers = layers_of(_needed(graph.nodes, wanted))
    for number, nodes in enumerate(layers):

        def report(done: int, number: int = number) -> None:
            if progress is not None:
                progress(number * len(windows) + done, len(layers) * len(windows))

        with walk.layer(nodes) as layer:
            captured = layer.observe(streams, wanted, products, report)
        yield captured


def multiplied(graph: CheckedGraph, wanted: set[str]) -> set[str]:
    """Those of the wanted tensors that `capture` tells of."""
    return set(_rows_of(graph.nodes, wanted))


def _products(node: Node, wanted: set[str]) -> Iterator[tuple[str, Value]]:
    """The wanted tensors that a node multiplies by, and what it multiplies them by."""
    for parameter, rows in node.products.items():
        weight, source = node.inputs[parameter], node.inputs.get(rows)
        if weight.tensor in wanted and source is not None and weight.type.rank == 2:
            yield weight.tensor, source


def _rows_of(nodes: Sequence[Node], wanted: set[str]) -> dict[str, Value]:
    return dict(pair for node in nodes for pair in _products(node, wanted))


def _needed(nodes: Sequence[Node], wanted: set[str]) -> list[Node]:
    """The nodes up to the last one with a wanted product."""
    last = max((at for at, node in enumerate(nodes) if any(_products(node, wanted))), default=-1)
    return list(nodes[: last + 1])


def layers_of(nodes: Sequence[Node]) -> list[list[Node]]:
    """Runs of nodes whose weights are of one layer."""
    layers: list[list[Node]] = []
    current: str | None = None
    for node in nodes:
        numbers = [re.search(r"\d+", value.tensor) for value in node.inputs.values() if value.kind == "weight"]
        found = {match[0] if match else "" for match in numbers}
        if not layers or (found and current is not None and found != {current}):
            layers.append([])
        if found:
            current = max(found)
        layers[-1].append(node)
    return layers


@dataclass(eq=False)
class Stream:
    """A sequence on its way through the graph: the values that later layers read, and its caches and states."""

    ids: NDArray[np.int32]
    kept: dict[Value, Any] = field(default_factory=dict)
    caches: dict[str, ReferenceCache] = field(default_factory=dict)
    states: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def fork(self) -> Stream:
        """Another one that goes on from here. Nodes write no value twice, so both may share what was written."""
        return Stream(self.ids, dict(self.kept), deepcopy(self.caches), deepcopy(self.states))


class Walk:
    """A graph, a layer after the other."""

    def __init__(self, graph: CheckedGraph, checkpoint: Checkpoint) -> None:
        self.graph, self.checkpoint = graph, checkpoint
        self.tables = rope_tables(graph)
        self.last_reader = {value: at for at, node in enumerate(graph.nodes) for value in node.inputs.values()}
        self.reached = 0

    @contextmanager
    def layer(self, nodes: Sequence[Node]) -> Iterator[Layer]:
        """The next nodes, their weights in memory; all streams go through them here."""
        weights = {value: read_float32(self.checkpoint, value.name)
                   for node in nodes for value in node.inputs.values() if value.kind == "weight"}  # fmt: skip
        yield Layer(self, nodes, weights)
        self.reached += len(nodes)
        for value in {value for value in weights if self.last_reader[value] < self.reached}:
            self.checkpoint.release(value.name)


@dataclass(frozen=True)
class Layer:
    """Some nodes of a walk, and their weights as float32."""

    walk: Walk
    nodes: Sequence[Node]
    weights: dict[Value, NDArray[np.float32]]

    @property
    def _ends(self) -> int:
        return self.walk.reached + len(self.nodes)

    def observe(
        self, streams: Sequence[Stream], wanted: set[str], products: bool, report: Callable[[int], None]
    ) -> Captured:
        """Let all streams go through; the moments of what the wanted tensors are multiplied by."""
        rows_of = _rows_of(self.nodes, wanted)
        observed: dict[Value, Moments] = {}
        for value in rows_of.values():
            columns = int(np.prod([value.type.size(axis) for axis in range(2, value.type.rank)]))
            observed.setdefault(value, Moments(columns, products))
        # A node behind which nothing is observed needs not be evaluated: of the last layer, the matrix of logits.
        last_reader, ends = self.walk.last_reader, self._ends
        is_last = all(last_reader.get(value, -1) < ends for node in self.nodes for value in node.outputs.values())
        for number, stream in enumerate(streams):
            self.run(stream, observed, skip_last=is_last)
            report(number + 1)
        for value, moments in observed.items():
            if not moments.is_finite:
                raise EngineError(
                    f'the calibration text makes "{value.name}" ({value}) infinite or NaN: the model is damaged, or '
                    "calibrate with another text."
                )
        return {tensor: observed[value] for tensor, value in rows_of.items()}

    def matrices(self, name: str) -> list[Value]:
        """The weights of this layer that are a tensor of the model, as products read them."""
        return [value for value in self.weights if value.tensor == name]

    def run(
        self,
        stream: Stream,
        observed: dict[Value, Moments] | None = None,
        replaced: dict[Value, NDArray[np.float32]] | None = None,
        skip_last: bool = False,
    ) -> NDArray[np.float32] | None:
        """Let a stream go through, `observed` count what it makes; `replaced`: other weights. Its logits, float32
        [tokens, vocabulary], where this layer makes them."""
        graph, last_reader, ids = self.walk.graph, self.walk.last_reader, stream.ids
        inputs = graph_inputs(graph, self.walk.tables, [ids], [np.arange(len(ids))])
        values: dict[Value, Any] = {**self.weights, **(replaced or {}), **inputs, **stream.kept}
        for cache in cached_values(graph):
            if any(cache in node.inputs.values() for node in self.nodes):
                heads, size = cache.type.size(1), cache.type.size(2)
                stream.caches.setdefault(cache.name, ReferenceCache(heads, size, "float32"))
        for name, shape in graph.state_shapes.items():
            stream.states.setdefault(name, np.zeros(shape, np.float32))
        context = StepContext((len(ids),), (slice(0, len(ids)),), config=graph.config)
        unseen, logits = dict(observed or {}), None
        with np.errstate(all="ignore"):  # infinities are found in the sums
            for at, node in enumerate(self.nodes, self.walk.reached):
                for value in node.inputs.values():
                    if value in unseen:
                        moments = unseen.pop(value)
                        moments.add(values[value].reshape(-1, moments.columns))
                if not (skip_last and node is self.nodes[-1]):
                    evaluate_node(node, context, values, [stream.caches], [stream.states])
                if graph.logits in node.outputs.values() and graph.logits in values:
                    logits = values[graph.logits].reshape(-1, graph.vocab_size)
                for value in node.inputs.values():
                    if value.kind == "data" and last_reader[value] == at:
                        values.pop(value, None)
        stream.kept = {
            value: array for value, array in values.items()
            if value.kind == "data" and last_reader.get(value, -1) >= self._ends
        }  # fmt: skip
        for cache in cached_values(graph):
            if last_reader[cache] < self._ends:
                stream.caches.pop(cache.name, None)
        return logits

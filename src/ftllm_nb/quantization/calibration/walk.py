"""A text's windows go through a model's graph, a layer at a time; inputs of products are summed up on the way.

Of weights one layer's are in memory, of activations what the next layer reads of all windows. A layer is a run of
nodes whose weights have one number in their names; where no names have numbers, all of the graph is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
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
    walk = _Walk(graph, with_computed_weights(checkpoint, graph), windows)
    layers = _layers(_needed(graph.nodes, wanted))
    for number, nodes in enumerate(layers):

        def report(done: int, number: int = number) -> None:
            if progress is not None:
                progress(number * len(windows) + done, len(layers) * len(windows))

        yield walk.layer(nodes, _rows_of(nodes, wanted), products, report)


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


def _layers(nodes: Sequence[Node]) -> list[list[Node]]:
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


class _Walk:
    def __init__(self, graph: CheckedGraph, checkpoint: Checkpoint, windows: Sequence[NDArray[np.int32]]) -> None:
        self.graph, self.checkpoint, self.windows = graph, checkpoint, windows
        self.tables = rope_tables(graph)
        self.last_reader = {value: at for at, node in enumerate(graph.nodes) for value in node.inputs.values()}
        self.reached = 0
        self.kept: list[dict[Value, Any]] = [{} for _ in windows]
        self.caches: list[dict[str, ReferenceCache]] = [{} for _ in windows]
        self.states: list[dict[str, NDArray[np.float32]]] = [{} for _ in windows]

    def layer(
        self, nodes: Sequence[Node], rows_of: dict[str, Value], products: bool, report: Callable[[int], None]
    ) -> Captured:
        """Let all windows go through the next nodes."""
        observed: dict[Value, Moments] = {}
        for value in rows_of.values():
            columns = int(np.prod([value.type.size(axis) for axis in range(2, value.type.rank)]))
            observed.setdefault(value, Moments(columns, products))
        weights = {value: self._read(value) for node in nodes for value in node.inputs.values()
                   if value.kind == "weight"}  # fmt: skip
        # A node behind which nothing is observed needs not be evaluated: of the last layer, the matrix of logits.
        ends = self.reached + len(nodes)
        is_last = all(self.last_reader.get(value, -1) < ends for node in nodes for value in node.outputs.values())
        with np.errstate(all="ignore"):  # infinities are found in the sums
            for number in range(len(self.windows)):
                self._window(number, nodes, observed, weights, skip_last=is_last)
                report(number + 1)
        self.reached = ends
        for value in {value for value in weights if self.last_reader[value] < ends}:
            self.checkpoint.release(value.name)
        for value, moments in observed.items():
            if not moments.is_finite:
                raise EngineError(
                    f'the calibration text makes "{value.name}" ({value}) infinite or NaN: the model is damaged, or '
                    "calibrate with another text."
                )
        return {tensor: observed[value] for tensor, value in rows_of.items()}

    def _read(self, value: Value) -> NDArray[np.float32]:
        return read_float32(self.checkpoint, value.name)

    def _window(
        self,
        number: int,
        nodes: Sequence[Node],
        observed: dict[Value, Moments],
        weights: dict[Value, NDArray[np.float32]],
        skip_last: bool,
    ) -> None:
        ids = self.windows[number]
        inputs = graph_inputs(self.graph, self.tables, [ids], [np.arange(len(ids))])
        values: dict[Value, Any] = {**weights, **inputs, **self.kept[number]}
        for cache in cached_values(self.graph):
            if any(cache in node.inputs.values() for node in nodes):
                heads, size = cache.type.size(1), cache.type.size(2)
                self.caches[number].setdefault(cache.name, ReferenceCache(heads, size, "float32"))
        for name, shape in self.graph.state_shapes.items():
            self.states[number].setdefault(name, np.zeros(shape, np.float32))
        context = StepContext((len(ids),), (slice(0, len(ids)),), config=self.graph.config)
        unseen = dict(observed)
        for at, node in enumerate(nodes, self.reached):
            for value in node.inputs.values():
                if value in unseen:
                    moments = unseen.pop(value)
                    moments.add(values[value].reshape(-1, moments.columns))
            if not (skip_last and node is nodes[-1]):
                evaluate_node(node, context, values, self.caches[number : number + 1], self.states[number : number + 1])
            for value in node.inputs.values():
                if value.kind == "data" and self.last_reader[value] == at:
                    values.pop(value, None)
        ends = self.reached + len(nodes)
        self.kept[number] = {
            value: array for value, array in values.items()
            if value.kind == "data" and self.last_reader.get(value, -1) >= ends
        }  # fmt: skip
        for cache in cached_values(self.graph):
            if self.last_reader[cache] < ends:
                self.caches[number].pop(cache.name, None)

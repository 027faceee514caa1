"""A graph evaluated over one text by NumPy references, with every value kept: to be looked at, and to be changed.

A graph that differs in a few calls from one that was evaluated before takes over what the others computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.float_weights import FloatWeights
from ftllm_nb.engine.reference_walk import ReferenceCache, cached_values, evaluate_node, graph_inputs, rope_tables
from ftllm_nb.graph.inputs import rope_table
from ftllm_nb.graph.ir import STATE, CheckedGraph, Node, Value, rows_symbol
from ftllm_nb.ops.base import Kind, StepContext

Array = NDArray[Any]


class Evaluation:
    """All values of one text's tokens, float32 throughout. `arrays`: of data and of inputs that are no caches."""

    def __init__(self, graph: CheckedGraph, token_ids: NDArray[np.int32]) -> None:
        self.graph = graph
        self.token_ids = token_ids
        self.arrays: dict[Value, Array] = {}
        self.nodes: dict[int, Node] = {}
        self.caches: dict[str, ReferenceCache] = {}
        self.states: dict[str, NDArray[np.float32]] = {}

    @property
    def logits(self) -> NDArray[np.float32]:
        """After each token, [tokens, vocab_size]."""
        return np.asarray(self.arrays[self.graph.logits][0])


def evaluate(
    graph: CheckedGraph,
    weights: FloatWeights,
    token_ids: NDArray[np.int32],
    *,
    earlier: Evaluation | None = None,
    until: Node | None = None,
) -> Evaluation:
    """All of a text at once. `earlier`: of the same text; what is the same is taken over. `until`: the last node."""
    found = Evaluation(graph, token_ids)
    found.arrays.update(_inputs(found, earlier))
    context = _context(graph, len(token_ids))
    shapes = {value.name: value for value in cached_values(graph)}
    for node in graph.nodes:
        old = earlier.nodes.get(id(node.call)) if earlier is not None else None
        if old is not None and earlier is not None and _is_same(node, old, found, earlier):
            for name, value in node.outputs.items():
                found.arrays[value] = earlier.arrays[old.outputs[name]]
            _take_over(node, found, earlier)
        else:
            _evaluate(node, context, found, weights, shapes)
        found.nodes[id(node.call)] = node
        if node is until:
            break
    return found


def evaluate_in_steps(
    graph: CheckedGraph, weights: FloatWeights, token_ids: NDArray[np.int32], lengths: Sequence[int]
) -> Evaluation:
    """The same with the tokens in steps of these lengths, as an engine runs them; the values of all steps together."""
    whole = Evaluation(graph, token_ids)
    whole.arrays.update(_inputs(whole, None))
    shapes = {value.name: value for value in cached_values(graph)}
    pieces: dict[Value, list[Array]] = {}
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        step = Evaluation(graph, token_ids[end - length : end])
        step.arrays.update(_inputs(step, None, end - length))
        step.caches, step.states = whole.caches, whole.states
        context = _context(graph, length)
        for node in graph.nodes:
            _evaluate(node, context, step, weights, shapes)
            whole.nodes[id(node.call)] = node
        for value, array in step.arrays.items():
            if value.kind == "data":
                pieces.setdefault(value, []).append(array)
    for value, arrays in pieces.items():
        whole.arrays[value] = arrays[-1] if rows_symbol(value) is None else np.concatenate(arrays, axis=1)
    return whole


def _context(graph: CheckedGraph, tokens: int) -> StepContext:
    return StepContext((tokens,), (slice(0, tokens),), report=lambda text: None, config=graph.config)


def _inputs(found: Evaluation, earlier: Evaluation | None, start: int = 0) -> dict[Value, Array]:
    """What is given with a step; tables that the earlier graph has as well are its own arrays."""
    graph, tokens = found.graph, found.token_ids
    positions = start + np.arange(len(tokens), dtype=np.int64)
    arrays = graph_inputs(graph, rope_tables(graph), [tokens], [positions])
    if earlier is None:
        return arrays
    before = {value.name: array for value, array in earlier.arrays.items() if value.kind == "input"}
    for value in arrays:
        table = rope_table(value.name)
        is_same = table is None or graph.rope[table[1]] == earlier.graph.rope.get(table[1])
        if value.name in before and is_same:
            arrays[value] = before[value.name]
    return arrays


def _is_same(node: Node, old: Node, found: Evaluation, earlier: Evaluation) -> bool:
    """Whether it computes what it computed before: the same call, of the same arrays."""
    if node.inputs.keys() != old.inputs.keys() or node.attributes != old.attributes:
        return False
    for name, value in node.inputs.items():
        before = old.inputs[name]
        if value.kind in ("weight", STATE) or node.operator.parameter(name).kind is Kind.CACHE:
            if value.name != before.name:
                return False
            cache = found.caches.get(value.name)
            if cache is not None and cache is not earlier.caches.get(value.name):
                return False
        elif found.arrays[value] is not earlier.arrays.get(before):
            return False
    return found.graph.config == earlier.graph.config or not node.operator.entries


def _take_over(node: Node, found: Evaluation, earlier: Evaluation) -> None:
    for name in _kept_names(node):
        if name in earlier.caches:
            found.caches[name] = earlier.caches[name]
        if name in earlier.states:
            found.states[name] = earlier.states[name]


def _kept_names(node: Node) -> Iterable[str]:
    return (value.name for name, value in node.inputs.items()
            if value.kind == STATE or node.operator.parameter(name).kind is Kind.CACHE)  # fmt: skip


def _evaluate(
    node: Node, context: StepContext, found: Evaluation, weights: FloatWeights, stored: dict[str, Value]
) -> None:
    graph, names = found.graph, list(_kept_names(node))
    for name in names:
        if name in stored and name not in found.caches:
            type = stored[name].type
            found.caches[name] = ReferenceCache(type.size(1), type.size(2), "float32")
        elif name in graph.state_shapes and name not in found.states:
            found.states[name] = np.zeros(graph.state_shapes[name], np.float32)
    local = {
        value: weights.read(graph, value) if value.kind == "weight" else found.arrays[value]
        for value in node.inputs.values()
        if value.kind == "weight" or value in found.arrays
    }
    states = {name: found.states[name].copy() for name in names if name in found.states}
    with np.errstate(over="ignore", invalid="ignore"):  # in a graph that is wrong numbers may grow without bound
        evaluate_node(node, context, local, [found.caches], [states])
    found.states.update(states)
    found.arrays.update({value: local[value] for value in node.outputs.values()})


"""Pairs the values of a graph with a reference's: an operator that reads the weights of a module stands for it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.evaluation import Evaluation
from ftllm_nb.graph.ir import CheckedGraph, Node, Value
from ftllm_nb.graph.weight_steps import Times
from ftllm_nb.ops.base import Kind
from ftllm_nb.verification.reference import Recording, Reference, distance

LOGITS = "logits"
Shapes = Mapping[str, tuple[int, ...]]
_MOST_NUMBERS = 50_000_000
"""Of a computed matrix whose rows are traced back."""


@dataclass(frozen=True)
class Site:
    """A value of the graph, and the place of the reference whose value it should be.

    `places`: several where the reference hands out a tuple; the nearest counts. `rows`: of the module's features those
    that the value has, None for all; `factor`: what the weight was multiplied by. `module`: as users know it.
    """

    key: str
    module: str
    role: str
    node: Node
    value: Value
    places: tuple[str, ...]
    rows: NDArray[np.int64] | None = field(default=None, compare=False)
    factor: float = 1.0

    def theirs(self, recording: Recording) -> list[NDArray[np.float32]]:
        """What the reference has here, [tokens, features] each."""
        if self.key == LOGITS:
            return [recording.logits]
        found = [recording.values[place] for place in self.places if place in recording.values]
        return found if self.rows is None else [each[:, self.rows] for each in found if len(self.rows) <= each.shape[1]]

    def ours(self, evaluation: Evaluation) -> NDArray[np.float32]:
        """What the graph has, [tokens, features]."""
        array = evaluation.arrays[self.value]
        return np.asarray(array, np.float32).reshape(array.shape[1], -1)

    def difference(self, evaluation: Evaluation, recording: Recording) -> float | None:
        """How far they are apart, as a part of theirs; None where nothing can be compared."""
        ours = self.ours(evaluation)
        found = []
        for theirs in self.theirs(recording):
            if theirs.shape == ours.shape:
                found.append(distance(ours, theirs))
                if self.factor != 1.0:
                    found.append(distance(ours / np.float32(self.factor or 1.0), theirs))
        return min(found) if found else None


def pair(graph: CheckedGraph, reference: Reference, shapes: Shapes) -> list[Site]:
    """The sites of a graph, in the order in which it computes them; the logits are the last one. `shapes`: of the
    checkpoint's tensors."""
    sites: list[Site] = []
    leaves, read, attention = set(reference.leaves), Counter[str](), 0
    for node in graph.nodes:
        if node.operator.name in ("FusedAttention", "LatentAttention"):
            sites.extend(_of_attention(node, attention))
            attention += 1
            continue
        sites.extend(_of_weights(node, reference, leaves, read, shapes))
    assert graph.logits.producer is not None
    sites.append(Site(LOGITS, "the logits", "output", graph.logits.producer, graph.logits, ()))
    return sites


def _of_attention(node: Node, number: int) -> Iterator[Site]:
    names = {"q": "q", "curk": "k", "curv": "v"} if node.operator.name == "FusedAttention" else {}
    for parameter, name in names.items():
        if parameter in node.inputs:
            key = f"attention.{number}>{name}"
            yield Site(key, f"attention {number}", f"input {parameter}", node, node.inputs[parameter], (key,))
    key = f"attention.{number}>out"
    yield Site(key, f"attention {number}", "output", node, node.outputs["output"], (key,))


def _of_weights(
    node: Node, reference: Reference, leaves: set[str], read: Counter[str], shapes: Shapes
) -> Iterator[Site]:
    weights = [value for value in node.inputs.values() if value.kind == "weight"]
    main = [name for name, value in node.inputs.items()
            if value.kind == "data" and node.operator.parameter(name).kind in (Kind.INPUT, Kind.INPLACE)]  # fmt: skip
    if not weights or not node.outputs:
        return
    output = next(iter(node.outputs.values()))
    module = _module(node, reference)
    if module not in leaves:
        return
    rows, factor = _rows(weights[0], shapes)
    tag = f"{module}/{weights[0].name}" if rows is not None else module
    number = read[tag]
    read[tag] += 1
    call = f"{module}#{number}" if number else module
    if main:
        value = node.inputs[main[0]]
        yield Site(f"{tag}#{number}>in", module, "input", node, value, (f"{call}>in",))
    outputs = tuple(f"{call}>out{each}" for each in ("", 1, 2))
    yield Site(f"{tag}#{number}>out", module, "output", node, output, outputs, rows, factor)


def _module(node: Node, reference: Reference) -> str | None:
    """The module that the node may stand for: that of its first weight, if the others are in the same one. Of several
    that hold the same tensor, as tied embeddings do, the first is where rows are looked up."""
    weights = {name: value for name, value in node.inputs.items() if value.kind == "weight"}
    known = {name: found for name, value in weights.items() if (found := reference.modules.get(value.tensor))}
    if not known:
        return None
    name, first = next(iter(known.items()))
    if len(weights) > 2 and any(each[0] != first[0] for each in known.values()):
        return None
    return first[0] if node.operator.parameter(name).embeds else first[-1]


def _rows(weight: Value, shapes: Shapes) -> tuple[NDArray[np.int64] | None, float]:
    """Which of its module's features a computed matrix makes, None for all, and what it was multiplied by."""
    if weight.computed is None:
        return None, 1.0
    factor = math.prod(step.number for step in weight.computed.steps if isinstance(step, Times))
    moves = [step for step in weight.computed.steps if not step.computes]
    stored = shapes[weight.tensor]
    if not moves or len(stored) != 2 or math.prod(stored) > _MOST_NUMBERS:
        return None, factor
    places = np.arange(math.prod(stored)).reshape(stored)
    for step in moves:
        places = step.apply(places)
    for count, features in ((stored[0], places // stored[1]), (stored[1], places % stored[1])):
        if places.ndim == 2 and (features == features[:, :1]).all():
            rows = features[:, 0]
            return (None if np.array_equal(rows, np.arange(count)) else rows), factor
    return None, factor

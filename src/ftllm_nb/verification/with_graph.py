"""The values of another graph as a reference: those of the architecture's own description, where torch is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.evaluation import Evaluation, evaluate
from ftllm_nb.engine.float_weights import FloatWeights
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.verification.pairing import Shapes, Site, pair
from ftllm_nb.verification.reference import Recording, Reference

_NUMBERS = ("scale", "window", "softcap")


def record_graph(
    graph: CheckedGraph, weights: FloatWeights, shapes: Shapes, texts: list[NDArray[np.int32]], prefill: int
) -> Reference:
    """Evaluate the graph on the texts. Its modules are the names of its tensors without the last part."""
    modules = {value.tensor: [value.tensor.rpartition(".")[0]] for value in graph.weights.values()}
    embedding = next((node.inputs["weight"].tensor for node in graph.nodes if node.operator.name == "Embedding"), None)
    if embedding is not None and graph.logits.producer is not None:
        head = "lm_head"
        if any(value.tensor == embedding for value in graph.logits.producer.inputs.values()):
            modules[embedding].append(head)
    leaves = list(dict.fromkeys(name for found in modules.values() for name in found))
    empty = Reference("", modules, leaves, [], prefill)
    recordings = []
    for text in texts:
        evaluation = evaluate(graph, weights, text)
        recordings.append(Recording(text, evaluation.logits, _values(graph, evaluation, empty, shapes)))
    attention = [
        {name: float(node.attributes[name]) for name in _NUMBERS if name in node.attributes}
        for node in graph.nodes
        if node.operator.name in ("FusedAttention", "LatentAttention")
    ]
    return Reference(
        "the built-in graph of this architecture", modules, leaves, recordings, prefill, attention,
        model={"vocab_size": graph.vocab_size, "layers": layers_in(shapes), **sizes_of(graph, shapes)},
    )  # fmt: skip


def _values(
    graph: CheckedGraph, evaluation: Evaluation, reference: Reference, shapes: Shapes
) -> dict[str, NDArray[np.float32]]:
    """By place; parts of a module's features, of operators that read parts of its matrix, are put together."""
    found: dict[str, NDArray[np.float32]] = {}
    for site in pair(graph, reference, shapes):
        if not site.places:
            continue
        ours = site.ours(evaluation)
        place = site.places[0]
        if site.rows is None:
            found.setdefault(place, ours)
        else:
            whole = found.setdefault(place, np.full((len(ours), _features(site, shapes)), np.nan, np.float32))
            whole[:, site.rows] = ours
    return found


def _features(site: Site, shapes: Shapes) -> int:
    """Features of a module of whose matrix the site has a part."""
    assert site.rows is not None
    weight = next(value for value in site.node.inputs.values() if value.kind == "weight")
    stored = shapes[weight.tensor]
    return max(stored) if site.rows.max() >= min(stored) else stored[0]


def sizes_of(graph: CheckedGraph, shapes: Shapes) -> dict[str, Any]:
    """Facts by which another model is told that has as many tokens and layers: `hidden_size`, the features of a
    token's embedding, and `shapes`, those of the checkpoint's tensors that the graph reads."""
    read = [value.tensor for value in graph.weights.values()]
    embedding = next((node.inputs["weight"] for node in graph.nodes if node.operator.name == "Embedding"), None)
    sizes = {} if embedding is None else {"hidden_size": embedding.type.size(-1)}
    return {**sizes, "shapes": {name: list(shapes[name]) for name in read if name in shapes}}


def layers_in(names: Iterable[str]) -> int:
    """How many layers the tensors of these names are of: the first number of each counts."""
    numbers = [int(match.group(1)) for name in names if (match := re.search(r"\.(\d+)\.", name))]
    return max(numbers, default=-1) + 1

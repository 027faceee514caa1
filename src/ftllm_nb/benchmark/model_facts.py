"""What a model is and what it needs: architecture, parameters, context, and memory at each type of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.checkpoint import open_checkpoint
from ftllm_nb.engine.cache_groups import CACHE_KINDS, plan_cache
from ftllm_nb.engine.weight_types import WeightTypes, stored_types
from ftllm_nb.graph.inputs import is_cache
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.graph.types import is_quantized
from ftllm_nb.loading import describe
from ftllm_nb.quant import weight_formats

FREE_SHARE = 0.9
"""Of the memory that is free, what a model may take: the rest is for intermediates and for others."""


@dataclass(frozen=True)
class ModelFacts:
    """`weight_bytes`: by the type that `--dtype` names, "auto" for the folder's own, which `stored_dtype` names; for a
    model that is quantized already its own alone. `stored_types`: of its matrices, the most frequent first.
    `cache_bytes`: of a full context, by the type that `--kv_cache_dtype` names.
    """

    architecture: str
    parameters: int
    layers: int
    context: int
    vocabulary: int
    stored_dtype: str
    stored_types: list[str]
    weight_bytes: dict[str, int]
    cache_bytes: dict[str, int]


def model_facts(folder: Path, custom: str | None = None) -> ModelFacts:
    """The facts of a model folder; reads headers and no weights. Raises subclasses of `FtllmError`."""
    with open_checkpoint(folder) as checkpoint:
        graph = describe(checkpoint, custom)
        stored, weights = size_of(graph, WeightTypes()), graph.weights.values()
        dtypes = [] if any(is_quantized(weight.type.dtype) for weight in weights) else weight_formats()
        return ModelFacts(
            architecture=str(checkpoint.config.get("model_type", "described by its file")),
            parameters=stored.parameters,
            layers=sum(any(is_cache(each.name) for each in node.inputs.values()) for node in graph.nodes),
            context=graph.max_positions,
            vocabulary=graph.vocab_size,
            stored_dtype=stored.dtype,
            stored_types=stored_types(graph.packed),
            weight_bytes={
                dtype: size_of(graph, WeightTypes(dtype)).weight_bytes for dtype in ("auto", *dtypes)
            },
            cache_bytes={kind: cache_size(graph, kind) for kind in CACHE_KINDS},
        )


def cache_size(graph: CheckedGraph, kind: str) -> int:
    """Bytes of the KV cache of one conversation that fills the context."""
    return plan_cache(graph.caches, kind).held_bytes(graph.max_positions)


def model_rows(facts: ModelFacts, free: int | None, cache_kind: str = "float16") -> list[tuple[str, str]]:
    """The facts to print: a name and a text each, then a row for each type of weights."""
    cache = facts.cache_bytes[cache_kind]
    other_kinds = [kind for kind in facts.cache_bytes if kind != cache_kind]
    others = ", ".join(f"{shown_bytes(facts.cache_bytes[kind])} as {kind}" for kind in other_kinds)
    rows = [
        ("architecture", f"{facts.architecture}, {facts.layers} layers, vocabulary {facts.vocabulary}"),
        ("parameters", _count(facts.parameters)),
        ("matrices", "; ".join(facts.stored_types)),
        ("context", f"{facts.context} tokens"),
        ("full KV cache", f"{shown_bytes(cache)} as {cache_kind}, {others}"),
        ("free memory", "unknown" if free is None else shown_bytes(free)),
    ]
    for number, (dtype, size) in enumerate(facts.weight_bytes.items()):
        name = f"{dtype} ({facts.stored_dtype})" if dtype == "auto" else dtype
        rows.append(("weights" if number == 0 else "", f"{name:18} {shown_bytes(size):>9}  {fit(size, cache, free)}"))
    return rows


def fit(weights: int, cache: int, free: int | None) -> str:
    """Whether weights, and a full context beside them, fit into the free memory."""
    if free is None:
        return ""
    if weights + cache <= free * FREE_SHARE:
        return "fits with a full context"
    return "fits with a shorter context" if weights <= free * FREE_SHARE else "does not fit"


def _count(parameters: int) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if parameters >= size:
            return f"{parameters / size:.2f} {name}"
    return str(parameters)

"""What a model is and what it needs: architecture, parameters, context, and memory at each type of weights."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ftllm_nb.benchmark.stored_kinds import StoredKind, kind_lines, stored_kinds
from ftllm_nb.benchmark.workload import size_of
from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.checkpoint import Checkpoint, open_checkpoint
from ftllm_nb.engine.cache_groups import cache_types, layer_bytes, plan_cache
from ftllm_nb.engine.in_place import packed_experts
from ftllm_nb.engine.state_memory import StateMemory
from ftllm_nb.engine.weight_types import WeightTypes, stored_types
from ftllm_nb.errors import UsageError
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS
from ftllm_nb.loading import describe
from ftllm_nb.quant import weight_formats
from ftllm_nb.quantized_type import QuantizedType

FREE_SHARE = 0.9
"""Of the memory that is free, what a model may take: the rest is for intermediates and for others."""
_NUMBERED = re.compile(r"^(.*?\.)(\d+)\.")
"""A weight of a layer: what is before the layer's number, and the number."""


@dataclass(frozen=True)
class ModelFacts:
    """`weight_bytes`: by the type that `--dtype` names, "auto" for the folder's own, which `stored_dtype` names; for a
    model that is quantized already its own alone. `stored_types`: of its matrices, the most frequent first.
    `cache_bytes`: of a conversation of `cached` tokens, by the type that `--kv_cache_dtype` names and by what layers
    see of it, "all positions" or "a window of 512"; `seeing`: how many layers see that, and `storing` how many of them
    store it: the others read what one of those has stored. `kinds`: of tensors, where the file has types of its own.
    `active_parameters`, `active_bytes`: what a token needs of a mixture of experts; of others that is all.
    `state_bytes`: of what recurrent layers keep of a sequence. `in_place_bytes`: of experts that may be used where they
    lie in the folder's files, with which `weight_bytes` count them. `token_numbers`, `token_bytes`: of what caches
    store of a token, by type.
    """

    architecture: str
    parameters: int
    layers: int
    context: int
    cached: int
    vocabulary: int
    stored_dtype: str
    stored_types: list[str]
    weight_bytes: dict[str, int]
    cache_bytes: dict[str, dict[str, int]]
    seeing: dict[str, int]
    storing: dict[str, int]
    kinds: tuple[StoredKind, ...] = ()
    active_parameters: int = 0
    active_bytes: dict[str, int] = field(default_factory=dict)
    state_bytes: int = 0
    in_place_bytes: int = 0
    token_numbers: int = 0
    token_bytes: dict[str, int] = field(default_factory=dict)


def model_facts(folder: Path, custom: str | None = None, context: int | None = None) -> ModelFacts:
    """The facts of a model folder; reads headers and no weights. Raises subclasses of `FtllmError`.

    `context`: tokens of the conversation whose cache is told, the model's longest where it is None.
    """
    with open_checkpoint(folder) as checkpoint:
        graph = describe(checkpoint, custom)
        stored, weights = size_of(graph, WeightTypes()), graph.weights.values()
        longest = graph.max_positions
        if context is not None and not 1 <= context <= longest:
            raise UsageError(f"--context {context} is none of this model's: it reads 1 to {longest} tokens.")
        caches = {cache.key: cache for cache in graph.caches.values()}
        read = (caches[each] for node in graph.nodes for each in node.inputs.values() if each in caches)
        seeing = dict(Counter(str(cache.reach) for cache in read))
        dtypes = [] if any(isinstance(weight.type.dtype, QuantizedType) for weight in weights) else weight_formats()
        sizes = {dtype: size_of(graph, WeightTypes(dtype)) for dtype in ("auto", *dtypes)}
        return ModelFacts(
            architecture=str(checkpoint.config.get("model_type", "described by its file")),
            parameters=stored.parameters,
            layers=layers_of(graph),
            context=longest,
            cached=context or longest,
            vocabulary=graph.vocab_size,
            stored_dtype=stored.dtype,
            stored_types=_stored_types(checkpoint, graph),
            weight_bytes={dtype: size.weight_bytes for dtype, size in sizes.items()},
            cache_bytes={kind: _cache_bytes(graph, kind, context or longest) for kind in cache_types(graph.caches)},
            seeing=seeing,
            storing=dict(Counter(str(cache.reach) for cache in graph.caches.values())),
            kinds=tuple(stored_kinds(checkpoint.tensors, graph)),
            active_parameters=stored.active_parameters,
            active_bytes={dtype: size.active_bytes for dtype, size in sizes.items()},
            state_bytes=StateMemory(graph.state_shapes).slot_bytes,
            token_numbers=sum(each.heads * (each.key_dim + each.value_dim) for each in graph.caches.values()),
            token_bytes={kind: _token_bytes(graph, kind) for kind in cache_types(graph.caches)},
            in_place_bytes=sum(checkpoint.tensors[each.name].nbytes for each in packed_experts(graph, checkpoint)),
        )


def layers_of(graph: CheckedGraph) -> int:
    """As many as the names of weights number; those that attend where the names have no numbers."""
    numbers: dict[str, set[str]] = {}
    for weight in graph.weights.values():
        match = _NUMBERED.match(weight.tensor)
        if match is not None:
            numbers.setdefault(match[1], set()).add(match[2])
    return max(map(len, numbers.values()), default=len(graph.caches))


def _stored_types(checkpoint: Checkpoint, graph: CheckedGraph) -> list[str]:
    """The types of matrices, the most frequent first: by the file's own names, where it has some."""
    own = Counter(checkpoint.tensors[weight.tensor].stored for weight in graph.packed)
    return stored_types(graph.packed) if "" in own else [name for name, _ in own.most_common()]


def _cache_bytes(graph: CheckedGraph, kind: str, length: int) -> dict[str, int]:
    """Of one conversation of so many tokens, by what layers see."""
    return {str(reach): size for reach, size in plan_cache(graph.caches, kind).held_bytes(length).items()}


def _token_bytes(graph: CheckedGraph, kind: str) -> int:
    """Of what is stored of a token in all layers, rounded up."""
    return -(-sum(layer_bytes(cache, kind) for cache in graph.caches.values()) // BLOCK_POSITIONS)


def model_rows(facts: ModelFacts, free: int | None, cache_kind: str = "float16") -> list[tuple[str, str]]:
    """The facts to print: a name and a text each, then a row for each type of weights."""
    cache = sum(facts.cache_bytes[cache_kind].values())
    other_kinds = [kind for kind in facts.cache_bytes if kind != cache_kind]
    others = ", ".join(f"{shown_bytes(sum(facts.cache_bytes[kind].values()))} as {kind}" for kind in other_kinds)
    is_full = facts.cached == facts.context
    name_of_cache = "full KV cache" if is_full else f"KV cache at {facts.cached}"
    beside = "a full context" if is_full else f"{facts.cached} tokens"
    rows = [
        ("architecture", f"{facts.architecture}, {facts.layers} layers, vocabulary {facts.vocabulary}"),
        ("parameters", _count(facts.parameters) + _active(facts)),
        *([("experts", _experts(facts))] if _is_mixture(facts) else []),
        ("matrices", "; ".join(facts.stored_types)),
        *(("", line) for line in (kind_lines(facts.kinds) if facts.kinds else [])),
        ("context", f"{facts.context} tokens"),
        (name_of_cache, f"{shown_bytes(cache)} as {cache_kind}, {others}"),
        *(("", text) for text in _by_layers(facts, cache_kind)),
        *([("KV of a token", _of_token(facts, cache_kind))] if facts.token_numbers else []),
        *([("recurrent states", _states(facts))] if facts.state_bytes else []),
        ("free memory", "unknown" if free is None else shown_bytes(free)),
    ]
    for number, (dtype, size) in enumerate(facts.weight_bytes.items()):
        name = f"{dtype} ({facts.stored_dtype})" if dtype == "auto" else dtype
        token = ""
        if facts.active_bytes.get(dtype, size) < size:
            token = f"{shown_bytes(facts.active_bytes[dtype])} for a token, "
        in_place = facts.in_place_bytes if dtype == "auto" else 0
        text = f"{name:18} {shown_bytes(size):>9}  {token}{fit(size, cache, free, beside, in_place)}"
        rows.append(("weights" if number == 0 else "", text))
    return rows


def _of_token(facts: ModelFacts, cache_kind: str) -> str:
    """What a token adds to the cache."""
    others = [f"{size:,} as {kind}" for kind, size in facts.token_bytes.items() if kind != cache_kind]
    numbers = f"{facts.token_numbers:,} numbers, {facts.token_bytes[cache_kind]:,} bytes as {cache_kind}"
    return ", ".join([numbers, *others])


def _states(facts: ModelFacts) -> str:
    """What recurrent layers keep."""
    return f"{shown_bytes(facts.state_bytes)} for each sequence, twice in a step, and once for each place to go back to"


def _active(facts: ModelFacts) -> str:
    """How many parameters a token needs, where that is not all of them."""
    return f", {_count(facts.active_parameters)} for a token" if _is_mixture(facts) else ""


def _is_mixture(facts: ModelFacts) -> bool:
    return 0 < facts.active_parameters < facts.parameters


def _experts(facts: ModelFacts) -> str:
    """Where a mixture's experts are used."""
    if facts.in_place_bytes:
        return f"{shown_bytes(facts.in_place_bytes)}, which stay in their files where the free memory is little"
    return "are copied into memory; those of a packed folder may stay in its files (quantize --format packed)"


def _by_layers(facts: ModelFacts, cache_kind: str) -> list[str]:
    """A line for each kind of layer, where there are several, or where some read what others store."""
    if len(facts.seeing) < 2 and facts.seeing == facts.storing:
        return []
    return [
        f"{shown_bytes(size)}: {_layers(facts.seeing[seen], 'see')} {seen}{_sharing(facts, seen)}"
        for seen, size in facts.cache_bytes[cache_kind].items()
    ]


def _sharing(facts: ModelFacts, seen: str) -> str:
    """How many of the layers store, where others read what those have stored."""
    storing = facts.storing[seen]
    return "" if storing == facts.seeing[seen] else f"; {_layers(storing, 'store')} it for all of them"


def _layers(count: int, verb: str) -> str:
    return f"{count} layers {verb}" if count > 1 else f"1 layer {verb}s"


def fit(weights: int, cache: int, free: int | None, beside: str = "a full context", in_place: int = 0) -> str:
    """Whether weights, and the cache beside them, fit into the free memory; `beside`: what the cache holds; `in_place`:
    bytes of the weights that need not be there."""
    if free is None:
        return ""
    if weights + cache <= free * FREE_SHARE:
        return f"fits with {beside}"
    if weights <= free * FREE_SHARE:
        return "fits with a shorter context"
    if in_place and weights - in_place <= free * FREE_SHARE:
        return "fits with experts in their files"
    return "does not fit"


def _count(parameters: int) -> str:
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if parameters >= size:
            return f"{parameters / size:.2f} {name}"
    return str(parameters)

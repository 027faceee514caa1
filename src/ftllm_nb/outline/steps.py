"""The operators of a checked graph with all that is known of each before a weight is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.checkpoint import TensorInfo
from ftllm_nb.graph.inputs import is_cache
from ftllm_nb.graph.ir import STATE, CheckedGraph, LayerCache, Node, Value
from ftllm_nb.graph.types import MARKER, Symbol

_CACHE_ITEM_BYTES = 2
"""Keys and values are float16 where nothing else is asked for."""


_TELLS_TOKENS = "original"
"""The parameter of attentions of which only the number of tokens matters: no edge of a picture."""


@dataclass(frozen=True)
class Tensor:
    """Data that an operator reads or writes, or a state that it keeps: its name, and its shape as people read it."""

    name: str
    shape: str

    def __str__(self) -> str:
        return f"{self.name} {self.shape}".rstrip()


@dataclass(frozen=True)
class Weight:
    """A weight, or a list of weights of one shape, of which `name` is the first.

    `nbytes`: of its numbers in the file, all of the list. `values`: what it is, to count tied weights once.
    """

    name: str
    shape: str
    dtype: str
    nbytes: int
    values: tuple[Value, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.values)


@dataclass(frozen=True)
class Step:
    """One operator.

    `number`: that of the call in build(), from 0, as errors have it. `settings`: its numbers. `operations`:
    multiplications and additions of its matrices, or of its recurrence, for a token; `attended`: those of attention,
    for each position that a token sees. `state`: what it keeps of a sequence; `position_bytes` of it for each position,
    in float16, `sequence_bytes` of it whatever the length. `reach`: how far back it is read. `where`: the line of the
    file. `reads_values`, `writes_values`: of the graph, to follow edges.
    """

    number: int
    operator: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    weights: tuple[Weight, ...]
    settings: Mapping[str, Any]
    operations: int
    attended: int
    state: tuple[Tensor, ...]
    position_bytes: int
    sequence_bytes: int
    reach: str
    where: str
    reads_values: tuple[Value, ...] = field(repr=False)
    writes_values: tuple[Value, ...] = field(repr=False)


def steps_of(graph: CheckedGraph, tensors: Mapping[str, TensorInfo]) -> list[Step]:
    """The operators in order. `tensors`: the checkpoint's, for the types and sizes that they have there."""
    caches = {cache.key: cache for cache in graph.caches.values()}
    return [_step(node, caches, tensors) for node in graph.nodes]


def _step(node: Node, caches: Mapping[Value, LayerCache], tensors: Mapping[str, TensorInfo]) -> Step:
    weights = {name: value for name, value in node.inputs.items() if value.kind == "weight"}
    kept = [value for value in node.inputs.values() if value.kind == STATE]
    stored = [caches[each] for each in node.inputs.values() if each in caches]
    stores = any(str(parameter.holds) in node.inputs for parameter in node.operator.parameters)
    state = [Tensor(value.name, _sizes(value)) for cache in stored for value in cache.stored]
    work = node.work
    return Step(
        number=node.call.index,
        operator=node.operator.name,
        inputs=tuple(Tensor(value.name, _sizes(value)) for value in _data(node.inputs)),
        outputs=tuple(Tensor(value.name, _sizes(value)) for value in node.outputs.values()),
        weights=tuple(_weights(node, weights, tensors)),
        settings=dict(node.attributes),
        operations=sum(round(2 * numbers_of(node.inputs[name]) * work.share) for name in node.products)
        + work.recurrent,
        attended=2 * work.attended,
        state=(*state, *(Tensor(value.name, _sizes(value)) for value in kept)),
        position_bytes=sum(
            _CACHE_ITEM_BYTES * numbers_of(value) for cache in stored if stores for value in cache.stored
        ),
        sequence_bytes=4 * sum(map(numbers_of, kept)),
        reach=str(stored[0].reach) if stored else "",
        where=node.call.where,
        reads_values=tuple(
            value
            for value in _data({name: each for name, each in node.inputs.items() if name != _TELLS_TOKENS})
            if value.kind == "data"
        ),
        writes_values=tuple(node.outputs.values()),
    )


def _data(inputs: Mapping[str, Value]) -> list[Value]:
    """What an operator computes from, without weights, what it keeps, and inputs that hold nothing; each once."""
    values = (
        value
        for value in inputs.values()
        if value.kind in ("data", "input") and not is_cache(value.name) and value.type.dtype != MARKER
    )
    return list(dict.fromkeys(value for value in values if value.name != "seqLens"))


def _weights(node: Node, weights: Mapping[str, Value], tensors: Mapping[str, TensorInfo]) -> Iterable[Weight]:
    """The weights; those of a list together."""
    groups: dict[str, list[Value]] = {}
    for name, value in weights.items():
        parameter = node.operator.parameter(name)
        groups.setdefault(parameter.name if parameter.is_many else name, []).append(value)
    for values in groups.values():
        by_shape: dict[tuple[Any, ...], list[Value]] = {}
        for value in values:
            by_shape.setdefault((value.type.shape, str(value.type.dtype)), []).append(value)
        for alike in by_shape.values():
            size = sum(stored_bytes(each, tensors) for each in alike)
            yield Weight(alike[0].name, _sizes(alike[0]), stored_type(alike[0], tensors), size, tuple(alike))


def stored_bytes(value: Value, tensors: Mapping[str, TensorInfo]) -> int:
    """What a weight's numbers take in the file; of a part of a tensor, its share."""
    info = tensors.get(value.tensor)
    if info is None:
        return 4 * numbers_of(value)
    return round(info.nbytes * numbers_of(value) / max(1, math.prod(info.shape)))


def stored_type(value: Value, tensors: Mapping[str, TensorInfo]) -> str:
    """A weight's type in the file, by the file's own name where it has one."""
    info = tensors.get(value.tensor)
    return str(value.type.dtype) if info is None else info.stored or str(info.dtype)


def numbers_of(value: Value) -> int:
    """How many numbers it holds, for a token."""
    return math.prod(size for size in value.type.shape if isinstance(size, int))


def _sizes(value: Value) -> str:
    """A shape without the axes that only a step knows: `14×64` of [1, tokens, 14, 64]."""
    if value.kind == "input" and not is_cache(value.name):
        return ""  # positions, and tables of which a token reads a row
    shape = list(value.type.shape)
    if any(isinstance(size, Symbol) for size in shape) and shape[0] == 1:
        shape = shape[1:]
    return "×".join(str(size) for size in shape if isinstance(size, int))

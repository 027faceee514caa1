"""Layers of several kinds, branch by branch: what all do, and what is so different that it is a function of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.inputs import is_input
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.ops.base import Kind
from ftllm_nb.scaffold.expressions import UNNAMED, ByLayer
from ftllm_nb.scaffold.functions import identifier

_FEW = 5
"""Calls that need no function."""
_ALIKE = 0.5
"""The share of calls from which on two kinds are one function with conditions."""
_OPERATORS = {
    "LatentAttention": "latent_attention", "FusedAttention": "attention", "RecurrentGatedDeltaRule": "delta_net",
    "MambaScan": "mamba", "MergeMOE": "experts", "CausalConv1D": "convolution",
}  # fmt: skip
"""What a branch is called that has one of these, where the config has no word for it."""
_REST = "feed_forward"
_TELLS_TOKENS = "original"
"""The parameter of attentions of which only the number of tokens matters."""


@dataclass(frozen=True)
class Layer:
    """A layer's number and calls, or some of them."""

    number: int
    calls: tuple[Call, ...]


Variants = dict[tuple[Hashable, ...], list[Layer]]
"""By the signatures of the calls, the layers that have these."""


@dataclass(frozen=True)
class LayerKind:
    """Layers that do something else than others do. `name`: of its function; `text`: what they are."""

    condition: str
    name: str
    text: str
    variants: Variants


class Branches:
    """The pieces of the layers. `signature`: what is the same of calls that are one line."""

    def __init__(self, layers: Sequence[Layer], signature: Callable[[Call], Hashable], by_layer: ByLayer) -> None:
        self._layers, self._signature, self._by_layer = layers, signature, by_layer
        self._names: set[str] = set()

    def pieces(self) -> Iterator[Variants | list[LayerKind]]:
        """In order, what is written line by line, and what is written by kinds of layers."""
        ends = [_ends(layer.calls, self._stream()) for layer in self._layers]
        if len({len(each) for each in ends}) > 1:
            ends = [[len(layer.calls)] for layer in self._layers]
        for branch in range(len(ends[0])):
            yield from self._of_branch(
                [
                    Layer(layer.number, layer.calls[each[branch - 1] if branch else 0 : each[branch]])
                    for layer, each in zip(self._layers, ends, strict=True)
                ]
            )

    def _of_branch(self, layers: Sequence[Layer]) -> Iterator[Variants | list[LayerKind]]:
        variants = self._variants(layers)
        kinds = list(variants)
        begin, end = _shared([[_exact(call) for call in layer.calls] for layer in layers])
        middles = [kind[begin : len(kind) - end] for kind in kinds]
        groups = _groups(middles)
        if len(groups) == 1 or max(map(len, middles)) < _FEW:
            yield variants
            return
        if begin:
            yield self._variants([Layer(each.number, each.calls[:begin]) for each in layers])
        found = [[kinds[at] for at in group] for group in groups if middles[group[0]]]
        yield self._kinds(
            [
                [
                    Layer(each.number, each.calls[begin : len(each.calls) - end])
                    for kind in group
                    for each in variants[kind]
                ]
                for group in found
            ],
            [layer.number for layer in layers],
        )
        if end:
            yield self._variants([Layer(each.number, each.calls[len(each.calls) - end :]) for each in layers])

    def _kinds(self, groups: Sequence[Sequence[Layer]], among: Sequence[int]) -> list[LayerKind]:
        found = []
        for group in groups:
            numbers = sorted(layer.number for layer in group)
            condition = self._by_layer.condition(numbers, among)
            name, text = self._name(group, numbers, among)
            variants = self._variants(sorted(group, key=lambda layer: layer.number))
            found.append(LayerKind(condition, name, text, variants))
        found.sort(key=lambda kind: kind.condition.startswith(UNNAMED))
        return found

    def _name(self, layers: Sequence[Layer], numbers: Sequence[int], among: Sequence[int]) -> tuple[str, str]:
        """Of the function: the config's word for these layers, else what they have that others lack."""
        said = self._by_layer.word(numbers, among)
        have = {call.operator.name for layer in layers for call in layer.calls}
        usual = next((name for operator, name in _OPERATORS.items() if operator in have), _REST)
        word = identifier(said) if said else usual
        while word in self._names or hasattr(ComputeGraph, word):
            word += "_"
        self._names.add(word)
        what = f'Layers of the kind "{said}"' if said else usual.replace("_", " ").capitalize()
        read, written = (" and ".join(f'data["{name}"]' for name in names) for names in _ends_of(layers[0].calls))
        return word, f"{what}: {written} of {read}."

    def _variants(self, layers: Sequence[Layer]) -> Variants:
        found: Variants = {}
        for layer in layers:
            found.setdefault(tuple(self._signature(call) for call in layer.calls), []).append(layer)
        return found

    def _stream(self) -> str:
        """The data that most is added to: what flows from layer to layer."""
        counts = Counter(name for layer in self._layers for call in layer.calls for name in _changed(call))
        return counts.most_common(1)[0][0] if counts else ""


def _changed(call: Call) -> Iterator[str]:
    """Data that a call adds to."""
    if call.operator.name == "AddTo":
        given = next(iter(call.arguments.values()))
        if isinstance(given, DataReference):
            yield given.name


def _ends_of(calls: Sequence[Call]) -> tuple[list[str], list[str]]:
    """The data that is read and that others wrote, and what the last call writes."""
    read: dict[str, None] = {}
    written: set[str] = set()
    for call in calls:
        for name, given in call.arguments.items():
            if isinstance(given, DataReference) and name != _TELLS_TOKENS:
                parameter = call.operator.parameter(name)
                if parameter.is_read and parameter.kind not in (Kind.CACHE, Kind.STATE):
                    if given.name not in written and not is_input(given.name):
                        read.setdefault(given.name)
        outputs = [each.name for name in call.operator.written()
                   if isinstance(each := call.arguments[name], DataReference)]  # fmt: skip
        written.update(outputs)
    return list(read), outputs


def _ends(calls: Sequence[Call], stream: str) -> list[int]:
    """Where branches end: behind what is added to the stream; the last one is the layer's end."""
    ends = [place + 1 for place, call in enumerate(calls) if stream in _changed(call)]
    return [*ends[:-1], len(calls)] if ends else [len(calls)]


def _exact(call: Call) -> Hashable:
    """A call with all of its data, but for the numbers of layers."""
    names = (each.name for each in call.arguments.values() if isinstance(each, DataReference))
    weights = (each.name for each in call.arguments.values() if isinstance(each, WeightReference))
    return call.operator.name, tuple(re.sub(r"\d+", "", name) for name in (*names, *weights))


def _shared(kinds: Sequence[Sequence[Hashable]]) -> tuple[int, int]:
    """How much all have in common at the beginning, and then at the end."""
    shortest = min(map(len, kinds))
    begin = next((at for at in range(shortest) if len({kind[at] for kind in kinds}) > 1), shortest)
    rest = shortest - begin
    end = next((at for at in range(rest) if len({kind[len(kind) - 1 - at] for kind in kinds}) > 1), rest)
    return begin, end


def _groups(middles: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """Kinds that are alike, together, each by its number."""
    groups: list[list[int]] = []
    for number, middle in enumerate(middles):
        for group in groups:
            if _likeness(middles[group[0]], middle) >= _ALIKE:
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _likeness(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    if not one or not other:
        return 1.0 if not one and not other else 0.0
    return SequenceMatcher(None, list(one), list(other), autojunk=False).ratio()

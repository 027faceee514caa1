"""A recorded graph as the Python that would record it: what comes before the layers, a loop over them, the rest."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ftllm_nb.checkpoint import TensorInfo
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.inputs import is_cache
from ftllm_nb.graph.references import Argument, DataReference, WeightReference
from ftllm_nb.ops.base import Kind, Parameter
from ftllm_nb.outline.layer_bounds import layer_bounds, number_of
from ftllm_nb.scaffold.expressions import ByLayer, Sizes, counted, weight_text
from ftllm_nb.scaffold.marks import mark_of
from ftllm_nb.scaffold.merging import Gap, merged
from ftllm_nb.scaffold.text import call_lines, comment_lines, todo_lines

_INDENT = "    "
_READS_SINGLE = "seqLens"
"""The parameter of operators that take single tokens, unless they have a cache."""
_MOST_NAMED = 2
"""Different numbers of one argument, of layers, that are written as what they may be of the config."""
_OUTSIDE = -1
"""The number of what is in no layer."""


@dataclass(frozen=True)
class Layer:
    """A layer's number and calls."""

    number: int
    calls: tuple[Call, ...]


class Program:
    """Writes the lines of a build() for a graph on a checkpoint.

    `config`: as build() leaves it. `lacking`: for tensors that the checkpoint lacks, the rest of a TODO.
    """

    def __init__(
        self,
        graph: ComputeGraph,
        tensors: Mapping[str, TensorInfo],
        config: Mapping[str, Any],
        sizes: Sizes,
        lacking: Mapping[str, str],
    ) -> None:
        self._tensors, self._sizes, self._lacking = tensors, sizes, lacking
        calls = graph.calls
        bounds = layer_bounds(
            [_weight_names(call) for call in calls],
            lambda place, prefix: _signature(calls[place], prefix),
            lambda place: _takes_single_tokens(calls[place]),
        )
        self.prefix = bounds.prefix
        self.layers = [Layer(number, tuple(calls[start:end])) for number, start, end in bounds.layers]
        first = bounds.layers[0][1] if bounds.layers else len(calls)
        last = bounds.layers[-1][2] if bounds.layers else len(calls)
        self._before, self._after = calls[:first], calls[last:]
        self._by_layer = ByLayer(config, len(self.layers))
        self._marked: set[str] = set()

    def before(self) -> list[str]:
        """The lines before the layers."""
        return [line for call in self._before for line in self._lines({_OUTSIDE: call}, "")]

    def after(self) -> list[str]:
        """The lines after the layers."""
        return [line for call in self._after for line in self._lines({_OUTSIDE: call}, "")]

    def of_layers(self) -> list[str]:
        """The lines of one layer, for the number `i`, within the loop."""
        kinds: dict[tuple[Hashable, ...], list[Layer]] = {}
        for layer in self.layers:
            kinds.setdefault(tuple(_signature(call, self.prefix) for call in layer.calls), []).append(layer)
        groups = list(kinds.values())
        lines: list[str] = []
        for piece in merged(list(kinds)):
            if isinstance(piece, Gap):
                lines += self._alternatives(piece, groups)
            else:
                places = zip(groups, piece, strict=True)
                lines += self._lines({each.number: each.calls[at] for group, at in places for each in group}, "")
        return lines

    def _alternatives(self, gap: Gap, groups: list[list[Layer]]) -> Iterator[str]:
        """What only some kinds of layers do, or each otherwise."""
        among = [layer.number for layer in self.layers]
        filled = [kinds for kinds in gap.kinds if gap.places[kinds[0]]]
        for place, kinds in enumerate(filled):
            members = [(layer, kind) for kind in kinds for layer in groups[kind]]
            is_rest = place and place == len(filled) - 1 and len(filled) == len(gap.kinds)
            condition = self._by_layer.condition(sorted(layer.number for layer, _ in members), among)
            yield "else:" if is_rest else f"{'elif' if place else 'if'} {condition}:"
            for at in range(len(gap.places[kinds[0]])):
                calls = {layer.number: layer.calls[gap.places[kind][at]] for layer, kind in members}
                yield from self._lines(dict(sorted(calls.items())), _INDENT)

    def _lines(self, calls: Mapping[int, Call], indent: str) -> Iterator[str]:
        """A call, the same in these layers, with a comment before it where it shows what is special."""
        first = next(iter(calls.values()))
        names = _weight_names(first)
        found = mark_of(names, self._tensors)
        if found is not None and found[0] not in self._marked:
            self._marked.add(found[0])
            text = f"{found[0][0].upper()}{found[0][1:]}: {found[1]}."
            yield from (f"{indent}{line}" for line in comment_lines(text))
        lacking = [self._lacking[name] for name in names if name in self._lacking]
        yield from (f"{indent}{line}" for line in todo_lines(lacking))
        yield from call_lines(f"{indent}self.{first.operator.name}(", self._arguments(calls))

    def _arguments(self, calls: Mapping[int, Call]) -> list[str]:
        first = next(iter(calls.values()))
        written: list[str] = []
        skipped = False
        for parameter in first.operator.parameters:
            given = {number: call.arguments[parameter.name] for number, call in calls.items()}
            if parameter.has_default and all(each == parameter.default for each in given.values()):
                skipped = True
                continue
            text = self._argument(parameter, given)
            written.append(f"{parameter.name}={text}" if skipped else text)
        return written

    def _argument(self, parameter: Parameter, given: Mapping[int, Argument]) -> str:
        """An argument for all of these layers."""
        some = next(iter(given.values()))
        if isinstance(some, DataReference):
            return self._data({number: each.name for number, each in given.items() if isinstance(each, DataReference)})
        texts = {number: self._text(parameter, each, number) for number, each in given.items()}
        numbers = {
            number: each for number, each in given.items() if isinstance(each, (int, float)) and parameter.is_number
        }
        if len(numbers) < len(given):
            numbers = {}
        if len(set(numbers.values())) > _MOST_NAMED:
            texts = {number: repr(value) for number, value in numbers.items()}
        return self._by_layer.choice(texts, numbers) if len(given) > 1 else next(iter(texts.values()))

    def _text(self, parameter: Parameter, argument: Argument, number: int) -> str:
        if isinstance(argument, WeightReference):
            if parameter.kind is Kind.OPTIONAL_WEIGHT and argument.name not in self._tensors:
                return "None"
            return weight_text(argument, self._layer(number))
        if isinstance(argument, tuple) and argument and isinstance(argument[0], WeightReference):
            return self._list(argument, number)
        return "None" if argument is None else self._sizes.number(parameter.name, argument)

    def _layer(self, number: int) -> tuple[str, int] | None:
        return None if number == _OUTSIDE else (self.prefix, number)

    def _list(self, weights: tuple[Any, ...], number: int) -> str:
        """A list of weights: a comprehension, where they differ in a number that counts them."""
        if len(weights) == 1:
            return weight_text(weights[0], self._layer(number))
        texts = [weight_text(each, self._layer(number)) for each in weights]
        return counted(texts, self._sizes.count(len(texts)))

    def _data(self, names: Mapping[int, str]) -> str:
        """Data, or what is kept of a layer."""
        texts = {}
        for number, name in names.items():
            stem, dot, rest = name.rpartition(".")
            is_own = is_cache(name) and rest == str(number)
            texts[number] = f'data["{stem}{dot}"][i]' if is_own else f'data["{name}"]'
        if len(set(texts.values())) > 1:
            parts = {number: name.rpartition(".") for number, name in names.items()}
            if len({part[0] for part in parts.values()}) == 1:
                rests = {number: part[2] for number, part in parts.items()}
                chosen = self._by_layer.choice({number: f'"{rest}"' for number, rest in rests.items()}, rests)
                return f'data["{next(iter(parts.values()))[0]}."][{chosen}]'
        return self._by_layer.choice(texts, {})


def _weight_names(call: Call) -> list[str]:
    """The names of the tensors that a call reads, in the order of its parameters."""
    names: list[str] = []
    for argument in call.arguments.values():
        for each in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(each, WeightReference):
                names.append(each.name)
    return names


def _takes_single_tokens(call: Call) -> bool:
    kinds = {parameter.kind for parameter in call.operator.parameters}
    return _READS_SINGLE in call.arguments and Kind.CACHE not in kinds


def _signature(call: Call, prefix: str) -> Hashable:
    """What is the same of a call in layers whose lines are the same; numbers may differ."""
    return call.operator.name, tuple(_form(argument, prefix) for argument in call.arguments.values())


def _form(argument: Argument, prefix: str) -> Hashable:
    if isinstance(argument, DataReference):
        return "data", argument.name.partition(".")[0] if "." in argument.name else argument.name
    if isinstance(argument, WeightReference):
        return "weight", _rest(argument.name, prefix), tuple(map(repr, argument.steps))
    if isinstance(argument, tuple) and argument and isinstance(argument[0], WeightReference):
        return "weights", len(argument), _rest(argument[0].name, prefix)
    return argument is None


def _rest(name: str, prefix: str) -> str:
    """A tensor's name without its layer's beginning."""
    number = number_of(name, prefix)
    return name if number is None else name[len(f"{prefix}{number}") :]

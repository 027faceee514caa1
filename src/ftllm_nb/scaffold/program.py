"""A recorded graph as the Python that would record it: what comes before the layers, a loop over them, the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftllm_nb.checkpoint import TensorInfo
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.inputs import is_cache
from ftllm_nb.graph.references import Argument, DataReference, WeightReference
from ftllm_nb.ops.base import Kind, Parameter
from ftllm_nb.outline.layer_bounds import layer_bounds, number_of
from ftllm_nb.scaffold.branches import Branches, Layer, Variants
from ftllm_nb.scaffold.expressions import UNNAMED, ByLayer, counted, weight_text
from ftllm_nb.scaffold.marks import mark_of
from ftllm_nb.scaffold.merging import Gap, merged
from ftllm_nb.scaffold.numbers import Numbers
from ftllm_nb.scaffold.text import Line, comment_lines, todo_lines

_READS_SINGLE = "seqLens"
"""The parameter of operators that take single tokens, unless they have a cache."""
_OUTSIDE = -1
"""The number of what is in no layer."""


@dataclass(frozen=True)
class Method:
    """What one kind of layers does and others do not: a method of the file's class. `text`: what it is; `takes`: the
    layer's weights, and its number where that is read."""

    name: str
    text: str
    takes: tuple[str, ...]
    lines: list[Line]


class Program:
    """Writes the lines of a build() for a graph on a checkpoint.

    `lacking`: for tensors that the checkpoint lacks, the rest of a TODO. `sizes`: names for products of entries.
    """

    def __init__(
        self,
        graph: ComputeGraph,
        tensors: Mapping[str, TensorInfo],
        numbers: Numbers,
        lacking: Mapping[str, str],
    ) -> None:
        self._tensors, self._numbers, self._lacking = tensors, numbers, lacking
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
        self._by_layer = ByLayer(numbers.config, len(self.layers))
        self._marked: set[str] = set()
        self.sizes: dict[str, str] = {}
        self.methods: list[Method] = []

    def before(self) -> list[Line]:
        """The lines before the layers."""
        return [line for call in self._before for line in self._lines({_OUTSIDE: call})]

    def after(self) -> list[Line]:
        """The lines after the layers."""
        return [line for call in self._after for line in self._lines({_OUTSIDE: call})]

    def of_layers(self) -> list[Line]:
        """The lines of one layer, for the number `i`, within the loop; what is of some kinds alone joins `methods`."""
        branches = Branches(self.layers, lambda call: _signature(call, self.prefix), self._by_layer)
        lines: list[Line] = []
        for piece in branches.pieces():
            if not isinstance(piece, list):
                lines += self._merged(piece)
                continue
            for number, kind in enumerate(piece):
                lines.append(Line(_beginning(number, len(piece), kind.condition)))
                own = self._merged(kind.variants)
                takes = tuple(name for name in ("layer", "i") if any(line.reads(name) for line in own))
                self.methods.append(Method(kind.name, kind.text, takes, own))
                lines.append(Line(f"self.{kind.name}(", takes).deeper())
        return lines

    def _merged(self, variants: Variants) -> list[Line]:
        """What is alike once, with conditions around what only some do."""
        groups = list(variants.values())
        lines: list[Line] = []
        for piece in merged(list(variants)):
            if isinstance(piece, Gap):
                lines += self._alternatives(piece, groups)
            else:
                places = zip(groups, piece, strict=True)
                lines += self._lines({each.number: each.calls[at] for group, at in places for each in group})
        return lines

    def _alternatives(self, gap: Gap, groups: list[list[Layer]]) -> Iterator[Line]:
        """What only some kinds of layers do, or each otherwise."""
        among = [layer.number for group in groups for layer in group]
        filled = [kinds for kinds in gap.kinds if gap.places[kinds[0]]]
        members = [[(layer, kind) for kind in kinds for layer in groups[kind]] for kinds in filled]
        conditions = [
            self._by_layer.condition(sorted(layer.number for layer, _ in each), sorted(among)) for each in members
        ]
        order = sorted(range(len(filled)), key=lambda at: conditions[at].startswith(UNNAMED))
        count = len(filled) if len(filled) == len(gap.kinds) else len(filled) + 1
        for place, at in enumerate(order):
            yield Line(_beginning(place, count, conditions[at]))
            for offset in range(len(gap.places[filled[at][0]])):
                calls = {layer.number: layer.calls[gap.places[kind][offset]] for layer, kind in members[at]}
                yield from (line.deeper() for line in self._lines(dict(sorted(calls.items()))))

    def _lines(self, calls: Mapping[int, Call]) -> Iterator[Line]:
        """A call, the same in these layers, with a comment before it where it shows what is special."""
        first = next(iter(calls.values()))
        names = _weight_names(first)
        found = mark_of(names, self._tensors)
        if found is not None and found[0] not in self._marked:
            self._marked.add(found[0])
            text = f"{found[0][0].upper()}{found[0][1:]}: {found[1]}."
            yield from map(Line, comment_lines(text))
        known = len(self._numbers.doubts)
        arguments = self._arguments(calls)
        lacking = [self._lacking[name] for name in names if name in self._lacking]
        yield from map(Line, todo_lines([*lacking, *dict.fromkeys(self._numbers.doubts[known:])]))
        for size, name in self._numbers.named_sizes(first):
            self.sizes.setdefault(size, name)
        yield Line(f"self.{first.operator.name}(", tuple(arguments))

    def _arguments(self, calls: Mapping[int, Call]) -> list[str]:
        first = next(iter(calls.values()))
        written: list[str] = []
        skipped = False
        for parameter in first.operator.parameters:
            given = [call.arguments[parameter.name] for call in calls.values()]
            if parameter.has_default and all(each == parameter.default for each in given):
                skipped = True
                continue
            text = self._argument(parameter, calls)
            written.append(f"{parameter.name}={text}" if skipped else text)
        return written

    def _argument(self, parameter: Parameter, calls: Mapping[int, Call]) -> str:
        """An argument for all of these layers."""
        given = {number: call.arguments[parameter.name] for number, call in calls.items()}
        some = next(iter(given.values()))
        if isinstance(some, DataReference):
            return self._data({number: each.name for number, each in given.items() if isinstance(each, DataReference)})
        texts = {number: self._text(parameter, call, number) for number, call in calls.items()}
        numbers = {
            number: each for number, each in given.items() if isinstance(each, (int, float)) and parameter.is_number
        }
        if len(numbers) < len(given):
            numbers = {}
        return self._by_layer.choice(texts, numbers) if len(given) > 1 else next(iter(texts.values()))

    def _text(self, parameter: Parameter, call: Call, number: int) -> str:
        argument = call.arguments[parameter.name]
        if isinstance(argument, WeightReference):
            if parameter.kind is Kind.OPTIONAL_WEIGHT and argument.name not in self._tensors:
                return "None"
            return self._weight(call, argument, number, lambda other: other.arguments[parameter.name])
        if isinstance(argument, tuple) and argument and isinstance(argument[0], WeightReference):
            return self._list(parameter.name, call, number)
        if isinstance(argument, tuple):
            texts = [
                self._numbers.text(call, lambda other, at=at: other.arguments[parameter.name][at])  # type: ignore[misc]
                for at in range(len(argument))
            ]
            return f"[{', '.join(texts)}]"
        if argument is None:
            return "None"
        return self._numbers.text(call, lambda other: other.arguments[parameter.name])

    def _weight(
        self, call: Call, weight: WeightReference, number: int, in_call: Callable[[Call], Any]
    ) -> str:
        """A weight; `in_call`: that of the same place in a call."""

        def step_number(place: int, field: str) -> str:
            name, _, at = field.partition(".")

            def number_of_step(other: Call) -> Any:
                found = getattr(in_call(other).steps[place], name)
                return found[int(at)] if at else found

            return self._numbers.text(call, number_of_step)

        return weight_text(weight, None if number == _OUTSIDE else (self.prefix, number), step_number)

    def _list(self, name: str, call: Call, number: int) -> str:
        """A list of weights: a comprehension, where they differ in a number that counts them."""
        weights: Sequence[Any] = call.arguments[name]  # type: ignore[assignment]
        texts = [
            self._weight(call, each, number, lambda other, at=at: other.arguments[name][at])  # type: ignore[misc]
            for at, each in enumerate(weights)
        ]
        if len(texts) == 1:
            return texts[0]
        return counted(texts, self._numbers.text(call, lambda other: len(other.arguments[name])))  # type: ignore[arg-type]

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


def _beginning(place: int, count: int, condition: str) -> str:
    if place and place == count - 1:
        return "else:"
    return f"{'elif' if place else 'if'} {condition}:"


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

"""Data read in another's place: q and k, gate and up, what is normed and what is not."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import Argument, DataReference
from ftllm_nb.ops.base import Kind
from ftllm_nb.verification.trial import Change, Ground, one_call, with_arguments

RANK = 25
_MOST_BEFORE = 60
"""Calls before a suspect whose data it may have meant."""
_EXCHANGEABLE = {"inputIds", "positionIds"}
"""Inputs of one shape."""


def changes(ground: Ground) -> Iterator[Change]:
    """Two that are exchanged, then one that is another."""
    yield from _exchanged(ground)
    for call in ground.suspects:
        yield from _others(ground, call)


def _exchanged(ground: Ground) -> Iterator[Change]:
    calls = ground.suspects
    names = list(dict.fromkeys(name for call in calls for name in _data(ground, call).values()))
    shapes = {name: shape for call in calls for name, shape in _shapes(ground, call).items()}
    for one, other in itertools.combinations(names, 2):
        if shapes.get(one) != shapes.get(other):
            continue
        first, second = DataReference(one), DataReference(other)
        swap: dict[Argument, Argument] = {first: second, second: first}
        parted = ground.parting.site
        for call in calls:
            if not _writes_one_of_both(call, {one, other}):
                yield _change(f'data["{one}"] and data["{other}"] are exchanged', [call], swap)
        inner = [call for call in calls if call is not parted.node.call or parted.role != "input"]
        if len(inner) > 1:
            yield _change(f'data["{one}"] and data["{other}"] are exchanged', inner, swap)
        if len(calls) > 1:
            yield _change(f'data["{one}"] and data["{other}"] are exchanged', calls, swap)


def _writes_one_of_both(call: Call, names: set[str]) -> bool:
    """Whether both are its data and it writes one: what it wrote would stay as it was, as if it were left out."""
    given = {each.name for each in call.arguments.values() if isinstance(each, DataReference)}
    written = {each.name for name in call.operator.written() if isinstance(each := call.arguments[name], DataReference)}
    return names <= given and bool(names & written)


def _change(sentence: str, calls: list[Call], swap: dict[Argument, Argument]) -> Change:
    first = min(calls, key=lambda call: call.index)

    def edit(call: Call) -> Call:
        arguments = {
            name: swap.get(argument, argument) if isinstance(argument, DataReference) else argument
            for name, argument in call.arguments.items()
        }
        return dataclasses.replace(call, arguments=arguments)

    only = first if len(calls) == 1 else None
    return Change(
        f"{sentence} in what {first.operator.name} reads" if only else f"{sentence} from {first.operator.name} on",
        first,
        {call.index: [edit(call)] for call in calls},
        edit=(lambda call: [edit(call)]) if only else None,
    )


def _others(ground: Ground, call: Call) -> Iterator[Change]:
    shapes = _shapes(ground, call)
    known: dict[str, tuple[object, ...]] = {}
    position = next(index for index, each in enumerate(ground.calls) if each is call)
    for each in ground.calls[max(0, position - _MOST_BEFORE) : position]:
        node = ground.node_of(each)
        if node is not None:
            for value in node.outputs.values():
                known[value.name] = value.type.shape
    for parameter, argument in call.arguments.items():
        if isinstance(argument, DataReference) and argument.name in _EXCHANGEABLE:
            (other,) = _EXCHANGEABLE - {argument.name}
            yield _instead(call, parameter, argument.name, other)
    for parameter, name in _data(ground, call).items():
        if call.operator.parameter(parameter).kind is Kind.INPLACE:
            continue  # that would only leave it out here
        for other, shape in reversed(known.items()):
            if other != name and shape == shapes[name]:
                yield _instead(call, parameter, name, other)


def _instead(call: Call, parameter: str, name: str, other: str) -> Change:
    return one_call(
        f'{call.operator.name} reads data["{name}"] as {parameter}; with data["{other}"] they are equal',
        call,
        lambda each: [with_arguments(each, **{parameter: DataReference(other)})],
    )


def _data(ground: Ground, call: Call) -> dict[str, str]:
    """The names of the data that a call reads, by parameter."""
    node = ground.node_of(call)
    if node is None:
        return {}
    return {parameter: value.name for parameter, value in node.inputs.items() if value.kind == "data"}


def _shapes(ground: Ground, call: Call) -> dict[str, tuple[object, ...]]:
    node = ground.node_of(call)
    if node is None:
        return {}
    return {value.name: value.type.shape for value in node.inputs.values() if value.kind == "data"}

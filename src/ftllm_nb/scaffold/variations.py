"""What becomes of a graph's numbers where one entry of the config is another: build() is run with each changed."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import Argument, DataReference, WeightReference

Path = tuple[str, ...]
"""Of an entry: its name, with those of the objects that it is in before it."""
_NO_SIZE = re.compile(r"token_id|_id$|vocab|layers?$|n_layer|^initializer|version|dropout")
"""Entries from which no number of an operator comes: ids, numbers of layers."""
_MOST_PAIRS = 40


@dataclass(frozen=True)
class Variation:
    """`paths`: of the entries that are changed; `config`: with them; `graph`: as build() then leaves it."""

    paths: tuple[Path, ...]
    config: Mapping[str, Any]
    graph: ComputeGraph


def variations(
    graph: ComputeGraph, config: Mapping[str, Any], build: Callable[[dict[str, Any]], ComputeGraph]
) -> list[Variation]:
    """Of each number of the config that build() read, the graph with another one, as far as it is of the same form.
    Where it is refused alone, since it contradicts others, it is changed together with another."""
    found: list[Variation] = []
    refused: list[Path] = []
    read = set(dict.keys(graph.config))
    read -= set(graph.config.unread if isinstance(graph.config, ReadConfig) else ())
    paths = [path for path in _numbers(config) if {path[0], path[-1]} & read and not _NO_SIZE.search(path[-1])]
    for path in paths:
        tried = _tried(graph, config, build, (path,))
        found += tried
        if not tried:
            refused.append(path)
    pairs = [*itertools.combinations(refused, 2), *itertools.product(refused, (p for p in paths if p not in refused))]
    for pair in pairs[:_MOST_PAIRS]:
        found += _tried(graph, config, build, pair)
    return found


def value_at(config: Mapping[str, Any], path: Path) -> Any:
    """The entry of that path; None where there is none."""
    value: Any = config
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _numbers(config: Mapping[str, Any], begin: Path = ()) -> Iterator[Path]:
    """The paths of numbers that something may be made of."""
    for name, value in dict(config).items():
        if isinstance(value, Mapping) and len(begin) < 2:
            yield from _numbers(value, (*begin, name))
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value:
            yield (*begin, name)


def _tried(
    graph: ComputeGraph,
    config: Mapping[str, Any],
    build: Callable[[dict[str, Any]], ComputeGraph],
    paths: tuple[Path, ...],
) -> list[Variation]:
    """The first of some other numbers with which the graph is of the same form, if there is one."""
    for numbers in zip(*(_others(value_at(config, path)) for path in paths), strict=True):
        changed = copy.deepcopy(dict(config))
        for path, number in zip(paths, numbers, strict=True):
            place = changed
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = number
        try:
            other = build(changed)
        except (FtllmError, ArithmeticError, AssertionError):
            continue
        if _is_alike(graph.calls, other.calls):
            return [Variation(paths, changed, other)]
    return []


def _others(number: int | float) -> tuple[int | float, ...]:
    """What it may be instead."""
    if isinstance(number, int):
        return 2 * number, 3 * number, max(1, number // 2), max(1, number - 1)
    return number / 2, 2 * number, 3 * number, number / 4


def _is_alike(calls: Sequence[Call], others: Sequence[Call]) -> bool:
    """Whether the same operators read and write the same: then only numbers differ."""
    return len(calls) == len(others) and all(
        one.operator is other.operator
        and all(_form(one.arguments[name]) == _form(other.arguments[name]) for name in one.arguments)
        for one, other in zip(calls, others, strict=True)
    )


def _form(argument: Argument) -> object:
    if isinstance(argument, WeightReference):
        return argument.name, tuple(map(type, argument.steps))
    if isinstance(argument, tuple):
        return _form(argument[0]) if argument and isinstance(argument[0], WeightReference) else len(argument)
    return argument if isinstance(argument, DataReference) else type(argument)

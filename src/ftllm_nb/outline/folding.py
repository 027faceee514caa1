"""Repeated layers, folded: what comes before them, one layer of each kind, and what comes after."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from ftllm_nb.graph.types import Symbol
from ftllm_nb.outline.layer_bounds import layer_bounds
from ftllm_nb.outline.steps import Step

_PLACES = {"start", "end"}
"""Numbers that say where a part of a tensor lies: layers that take each their own part are of one kind."""


@dataclass(frozen=True)
class Section:
    """Operators that stand together. `layers`: the numbers of those that are like it; () for what is no layer.

    `first`: the place of its first operator in the whole graph. `prefix`: what the names of layers' weights begin with.
    """

    steps: tuple[Step, ...]
    first: int
    layers: tuple[int, ...] = ()
    prefix: str = ""

    @property
    def title(self) -> str:
        """`layers 0–4, 6–10 (× 10), weights model.layers.N`."""
        if not self.layers:
            return ""
        noun = "layers" if len(self.layers) > 1 else "layer"
        weights = f", weights {self.prefix}N" if self.prefix else ""
        return f"{noun} {number_ranges(self.layers)} (× {len(self.layers)}){weights}"

    def short_name(self, name: str) -> str:
        """A weight's name without what the names of all of the layer's weights begin with."""
        return name.replace(f"{self.prefix}{self.layers[0]}.", ".") if self.layers and self.prefix else name


def sections_of(steps: list[Step]) -> list[Section]:
    """The graph in sections: all that is before the layers, each kind of layer where it comes first, the rest."""
    bounds = layer_bounds(
        [[weight.values[0].tensor for weight in step.weights] for step in steps],
        lambda place, prefix: _signature(steps[place], prefix),
        lambda place: any(Symbol.ROWS in value.type.shape for value in steps[place].writes_values),
    )
    if not bounds.layers:
        return [Section(tuple(steps), 0)]
    kinds: dict[Hashable, list[tuple[int, int, int]]] = {}
    for number, start, end in bounds.layers:
        signature = tuple(_signature(step, bounds.prefix) for step in steps[start:end])
        kinds.setdefault(signature, []).append((number, start, end))
    first, last = bounds.layers[0][1], bounds.layers[-1][2]
    around = [Section(tuple(steps[:first]), 0)]
    for alike in kinds.values():
        _, start, end = alike[0]
        around.append(Section(tuple(steps[start:end]), start, tuple(number for number, *_ in alike), bounds.prefix))
    return [section for section in (*around, Section(tuple(steps[last:]), last)) if section.steps]


def without_number(name: str, prefix: str) -> str:
    """A weight's name with `*` for the number of its layer."""
    return name if not prefix else re.sub(rf"{re.escape(prefix)}\d+\.", f"{prefix}*.", name)


def number_ranges(numbers: Iterable[int]) -> str:
    """`0–4, 6, 8–9`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def _signature(step: Step, prefix: str) -> Hashable:
    """What is the same in all layers of a kind."""
    return (
        step.operator,
        tuple(map(str, step.inputs)),
        tuple(map(str, step.outputs)),
        tuple((without_number(weight.name, prefix), weight.shape, weight.dtype, weight.count)
              for weight in step.weights),
        tuple((re.sub(r"\d+", "*", tensor.name), tensor.shape) for tensor in step.state),
        tuple(sorted((name, str(number)) for name, number in step.settings.items() if name not in _PLACES)),
        step.reach,
    )  # fmt: skip

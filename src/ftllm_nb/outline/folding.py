"""Repeated layers, folded: what comes before them, one layer of each kind, and what comes after."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from ftllm_nb.graph.types import Symbol
from ftllm_nb.outline.steps import Step

_NUMBERED = re.compile(r"^(.*?\.)(\d+)\.")

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
    prefix = _layers_prefix(steps)
    cuts = _cuts(steps, prefix)
    if len(cuts) < 2:
        return [Section(tuple(steps), 0)]
    numbers = sorted(cuts)
    bounds = [cuts[number] for number in numbers]
    signatures = [_signature(steps[start:end], prefix) for start, end in pairwise(bounds)]
    end = bounds[-1] + _length_of_last([_signature([step], prefix)[0] for step in steps[bounds[-1] :]], signatures)
    bounds.append(end)
    signatures.append(_signature(steps[bounds[-2] : end], prefix))
    kinds: dict[Hashable, list[int]] = {}
    for place, signature in enumerate(signatures):
        kinds.setdefault(signature, []).append(place)
    layers = [
        Section(
            tuple(steps[bounds[places[0]] : bounds[places[0] + 1]]),
            bounds[places[0]],
            tuple(numbers[p] for p in places),
            prefix,
        )
        for places in kinds.values()
    ]
    around = [Section(tuple(steps[: bounds[0]]), 0), *layers, Section(tuple(steps[end:]), end)]
    return [section for section in around if section.steps]


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


def _layers_prefix(steps: list[Step]) -> str:
    """What the names of layers' weights begin with, before the number: that of most weights."""
    found = Counter(
        match[1]
        for step in steps
        for weight in step.weights
        for name in [weight.values[0].tensor]
        if (match := _NUMBERED.match(name)) is not None
    )
    return found.most_common(1)[0][0] if found else ""


def _cuts(steps: list[Step], prefix: str) -> dict[int, int]:
    """The place of the first operator of each layer, by the layer's number: numbers never fall."""
    cuts: dict[int, int] = {}
    current = -1
    for place, step in enumerate(steps):
        numbers = [_number(weight.values[0].tensor, prefix) for weight in step.weights]
        numbers += [_number(f"{tensor.name}.", "pastKey.") for tensor in step.state if not prefix]
        number = max((each for each in numbers if each is not None), default=current)
        if number > current:
            cuts[number], current = place, number
    return cuts


def _number(name: str, prefix: str) -> int | None:
    match = _NUMBERED.match(name)
    return int(match[2]) if match is not None and match[1] == prefix else None


def _length_of_last(last: list[Hashable], others: list[tuple[Hashable, ...]]) -> int:
    """How many operators the last layer has: as many as a layer before it that begins as it does, else up to where
    single tokens are taken."""
    for other in reversed(others):
        if tuple(last[: len(other)]) == other:
            return len(other)
    ends = (place for place, each in enumerate(last) if isinstance(each, tuple) and each[-1])
    return next(ends, len(last))


def _signature(steps: Iterable[Step], prefix: str) -> tuple[Hashable, ...]:
    """What is the same in all layers of a kind."""
    return tuple(
        (
            step.operator,
            tuple(map(str, step.inputs)),
            tuple(map(str, step.outputs)),
            tuple((without_number(weight.name, prefix), weight.shape, weight.dtype, weight.count)
                  for weight in step.weights),
            tuple((re.sub(r"\d+", "*", tensor.name), tensor.shape) for tensor in step.state),
            tuple(sorted((name, str(number)) for name, number in step.settings.items() if name not in _PLACES)),
            step.reach,
            any(Symbol.ROWS in value.type.shape for value in step.writes_values),
        )
        for step in steps
    )  # fmt: skip

"""Weights, and what differs from layer to layer, as a person would write them in build()."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftllm_nb.graph.references import WeightReference
from ftllm_nb.graph.weight_steps import Part, Plus, Reshaped, Rows, Times, Transposed, WeightStep

_NUMBER = re.compile(r"(\d+)")
_LISTS_LAYERS = re.compile("layers|idx")
"""Names of entries with the numbers of some layers."""
UNNAMED = "i in ("
"""How a condition begins that says nothing of why."""
_FEW = 4
"""Layers that are told from others by their numbers."""
StepNumber = Callable[[int, str], str]
"""The text of a number of a weight's step, by the step's place and the number's name."""


def weight_text(reference: WeightReference, layer: tuple[str, int] | None, number: StepNumber) -> str:
    """A weight: `layer[".mlp.up_proj.weight"]` in the layer of that prefix and number, else `weight["…"]`."""
    name, begin = reference.name, "" if layer is None else f"{layer[0]}{layer[1]}"
    inside = bool(begin) and name.startswith(f"{begin}.")
    text = f'layer["{name[len(begin) :]}"]' if inside else f'weight["{name}"]'
    for place, step in enumerate(reference.steps):
        text = _step_text(step, text, lambda field, place=place: number(place, field))  # type: ignore[misc]
    return text


def _step_text(step: WeightStep, text: str, number: Callable[[str], str]) -> str:
    if isinstance(step, Plus):
        return f"({number('number')} + {text})"
    if isinstance(step, Times):
        return f"({number('number')} * {text})"
    if isinstance(step, Rows):
        return f"{text}.rows({number('start')}, {number('end')})"
    if isinstance(step, Part):
        return f"{text}.part({step.axis}, {number('start')}, {number('end')})"
    if isinstance(step, Transposed):
        return f"{text}.transposed()"
    assert isinstance(step, Reshaped)
    return f"{text}.reshaped({', '.join(number(f'sizes.{at}') for at in range(len(step.sizes)))})"


def counted(texts: Sequence[str], count: str) -> str:
    """A list of texts that differ in numbers which count them, as a comprehension over `e`; others as they are."""
    pieces = [_NUMBER.split(text) for text in texts]
    listed = f"[{', '.join(texts)}]"
    if len({tuple(piece[::2]) for piece in pieces}) > 1:
        return listed
    text = pieces[0][0]
    for column in range(1, len(pieces[0]), 2):
        numbers = [int(piece[column]) for piece in pieces]
        offset = numbers[0]
        is_named = text.count('"') % 2 == 1
        if all(number == offset for number in numbers):
            text += pieces[0][column]
        elif numbers != list(range(offset, offset + len(numbers))) or (is_named and offset):
            return listed
        else:
            text += '"][e]["' if is_named else f"e + {offset}" if offset else "e"
        text += pieces[0][column + 1]
    return f"[{text} for e in range({count})]"


@dataclass(frozen=True)
class ByLayer:
    """How what differs from layer to layer is written. `config`: as build() leaves it; `layers`: how many there are."""

    config: Mapping[str, Any]
    layers: int

    def condition(self, numbers: Sequence[int], among: Sequence[int]) -> str:
        """What is true of `i` for these layers and for no other among those."""
        chosen = set(numbers)
        for name, value in self.config.items():
            if isinstance(value, list) and _LISTS_LAYERS.search(name) and len(value) < self.layers:
                if {number for number in among if number in value} == chosen:
                    return f'i in config["{name}"]'
        for name, values in self._lists():
            for value in dict.fromkeys(values[number] for number in numbers):
                if {number for number in among if values[number] == value} == chosen:
                    return f'config["{name}"][i] == {_literal(value)}'
        if chosen == {number for number in among if number < len(chosen)}:
            return f"i < {len(chosen)}" if len(chosen) > 1 else "i == 0"
        first = min(chosen)
        if chosen == {number for number in among if number >= first}:
            return f"i >= {first}"
        for step in range(2, self.layers // 2 + 1):
            for offset in range(step):
                if chosen == {number for number in among if number % step == offset}:
                    return f"i % {step} == {offset}"
        if len(chosen) == 1:
            return f"i == {first}"
        return f"{UNNAMED}{', '.join(map(str, sorted(chosen)))})"

    def word(self, numbers: Sequence[int], among: Sequence[int]) -> str | None:
        """What a list of the config calls these layers and no other among those; None where none does."""
        for _, values in self._lists():
            said = {values[number] for number in numbers}
            if len(said) == 1 and isinstance(values, list) and isinstance(values[numbers[0]], str):
                if not any(values[number] in said for number in among if number not in set(numbers)):
                    return str(said.pop())
        return None

    def choice(self, values: Mapping[int, str], numbers: Mapping[int, Any]) -> str:
        """The text of what is `values[i]`; `numbers`: what these texts mean, where they are numbers."""
        texts = list(dict.fromkeys(values.values()))
        if len(texts) == 1:
            return texts[0]
        for name, entries in self._lists():
            if numbers and all(entries[number] == value for number, value in numbers.items()):
                return f'config["{name}"][i]'
        line = _line(numbers)
        if line is not None:
            return line
        if len(texts) == 2:
            numbers_of = [[number for number, text in values.items() if text == each] for each in texts]
            conditions = [self.condition(each, list(values)) for each in numbers_of]
            plain = [at for at in range(2) if not conditions[at].startswith(UNNAMED)]
            fewer = min(range(2), key=lambda at: len(numbers_of[at]))
            if plain or len(numbers_of[fewer]) <= _FEW:
                at = plain[0] if plain else fewer
                return f"{texts[at]} if {conditions[at]} else {texts[1 - at]}"
        for name, entries in self._lists():
            by_kind: dict[str, set[str]] = {}
            for number, text in values.items():
                by_kind.setdefault(_literal(entries[number]), set()).add(text)
            if all(len(found) == 1 for found in by_kind.values()):
                table = ", ".join(f"{kind}: {min(found)}" for kind, found in by_kind.items())
                return f'{{{table}}}[config["{name}"][i]]'
        return f"{{{', '.join(f'{number}: {text}' for number, text in values.items())}}}[i]"

    def _lists(self) -> Iterator[tuple[str, Sequence[Any]]]:
        """Entries of the config with a value for each layer, or patterns with a letter; names before numbers."""
        found = [
            (name, value)
            for name, value in self.config.items()
            if (isinstance(value, list) or (isinstance(value, str) and "pattern" in name))
            and len(value) == self.layers
            and all(isinstance(each, (str, int, float)) for each in value)
        ]
        yield from sorted(found, key=lambda entry: not isinstance(entry[1][0], str))


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _line(numbers: Mapping[int, Any]) -> str | None:
    """`8 * i + 4`, where whole numbers grow evenly with the layer's; else None."""
    if len(numbers) < 3 or not all(isinstance(value, int) for value in numbers.values()):
        return None
    (first, start), (second, after), *_ = numbers.items()
    slope, rest = divmod(after - start, second - first)
    offset = start - slope * first
    if rest or any(value != slope * number + offset for number, value in numbers.items()):
        return None
    begin = "i" if slope == 1 else f"{slope} * i"
    return begin if offset == 0 else f"{begin} {'+' if offset > 0 else '-'} {abs(offset)}"

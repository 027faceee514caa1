"""Numbers and names as a person would write them in build(): `config["rms_norm_eps"]` rather than 1e-05."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.graph.references import WeightReference
from ftllm_nb.graph.weight_steps import Part, Plus, Reshaped, Rows, Times, Transposed, WeightStep

_SIZES_OF = {
    "headDim": ("head_dim",),
    "rotaryDim": ("head_dim",),
    "part": ("head_dim",),
    "window": ("sliding_window",),
    "chunk": ("attention_chunk_size",),
    "topk": ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"),
    "groups": ("n_group",),
    "topGroups": ("topk_group",),
    "vDim": ("kv_lora_rank",),
    "start": (),
    "end": (),
}
"""Entries of the config that a whole number of an operator may be, by its parameter; others stay numbers."""
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_PARTS = {"start", "end", "headDim"}
_NUMBER = re.compile(r"(\d+)")
_LEAST_NAMED = 2
"""Below this a size is written as a number: 0 and 1 are no entries of a config."""
_EPS = "eps"


@dataclass(frozen=True)
class Sizes:
    """The config's numbers as expressions. `config`: as build() leaves it; `names`: of local variables, by size."""

    config: Mapping[str, Any]
    names: Mapping[int, str] = field(default_factory=dict)

    def number(self, parameter: str, value: Any) -> str:
        """The text of a number that an operator is given."""
        if isinstance(value, tuple):
            return f"[{', '.join(self.number('', each) for each in value)}]"
        if isinstance(value, int):
            return self._whole(parameter, value)
        return self._float(parameter, float(value))

    def count(self, value: int) -> str:
        """The text of a number of experts."""
        entry = next((entry for entry in _EXPERTS if self.config.get(entry) == value), None)
        return repr(value) if entry is None else f'config["{entry}"]'

    def _whole(self, parameter: str, value: int) -> str:
        if parameter not in _SIZES_OF or value < _LEAST_NAMED:
            return repr(value)
        for entry in _SIZES_OF[parameter]:
            if self.config.get(entry) == value:
                return "head_dim" if entry == "head_dim" else f'config["{entry}"]'
        return self.names.get(value, repr(value)) if parameter in _PARTS else repr(value)

    def _float(self, parameter: str, value: float) -> str:
        if value.is_integer() and abs(value) < _LEAST_NAMED:
            return repr(value) if value else "0.0"
        for entry in self._entries(parameter):
            for text, number in _forms(entry, self.config[entry]):
                if number == value:
                    return text
        return repr(value)

    def _entries(self, parameter: str) -> list[str]:
        """Entries that may be meant, the likeliest first."""
        numbers = [name for name, each in self.config.items() if _is_number(each)]
        if parameter == _EPS:
            return [name for name in numbers if _EPS in name]
        likely = [name for name in numbers if any(word in name for word in _SCALES)]
        order = ("query_pre_attn_scalar", "head_dim") if parameter == "scale" else ()
        return sorted(likely, key=lambda name: (name not in order, name in ("head_dim", "hidden_size")))


_SCALES = ("scal", "mult", "softcap", "query_pre_attn", "head_dim", "hidden_size", "limit", "alpha", "beta")
"""Parts of the names of entries that something is multiplied by, or bounded to."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0


def _forms(entry: str, number: float) -> Iterator[tuple[str, float]]:
    """What a model may make of an entry, and the number that it is."""
    text = "head_dim" if entry == "head_dim" else f'config["{entry}"]'
    yield text, float(number)
    if number > 0:
        yield f"{text} ** -0.5", float(number**-0.5)
        yield f"{text} ** 0.5", float(number**0.5)
        yield f"1 / {text}", 1 / number
    yield f"math.sqrt({text})", math.sqrt(abs(number))


def weight_text(reference: WeightReference, layer: tuple[str, int] | None) -> str:
    """A weight: `layer[".mlp.up_proj.weight"]` in the layer of that prefix and number, else `weight["…"]`."""
    name, begin = reference.name, "" if layer is None else f"{layer[0]}{layer[1]}"
    inside = bool(begin) and name.startswith(f"{begin}.")
    text = f'layer["{name[len(begin) :]}"]' if inside else f'weight["{name}"]'
    for step in reference.steps:
        text = _step_text(step, text)
    return text


def _step_text(step: WeightStep, text: str) -> str:
    if isinstance(step, Plus):
        return f"({step.number!r} + {text})"
    if isinstance(step, Times):
        return f"({step.number!r} * {text})"
    if isinstance(step, Rows):
        return f"{text}.rows({step.start}, {step.end})"
    if isinstance(step, Part):
        return f"{text}.part({step.axis}, {step.start}, {step.end})"
    if isinstance(step, Transposed):
        return f"{text}.transposed()"
    assert isinstance(step, Reshaped)
    return f"{text}.reshaped({', '.join(map(str, step.sizes))})"


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
        return f"i in ({', '.join(map(str, sorted(chosen)))}{',' if len(chosen) == 1 else ''})"

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
            first = [number for number, text in values.items() if text == texts[0]]
            condition = self.condition(first, list(values))
            if not condition.startswith("i in"):
                return f"{texts[0]} if {condition} else {texts[1]}"
        for name, entries in self._lists():
            by_kind: dict[str, set[str]] = {}
            for number, text in values.items():
                by_kind.setdefault(_literal(entries[number]), set()).add(text)
            if all(len(found) == 1 for found in by_kind.values()):
                table = ", ".join(f"{kind}: {min(found)}" for kind, found in by_kind.items())
                return f'{{{table}}}[config["{name}"][i]]'
        return f"{{{', '.join(f'{number}: {text}' for number, text in values.items())}}}[i]"

    def _lists(self) -> Iterator[tuple[str, list[Any]]]:
        """Entries of the config with a value for each layer; names before numbers."""
        found = [
            (name, value)
            for name, value in self.config.items()
            if isinstance(value, list)
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

"""A graph's numbers as the entries of the config that they come from: `config["rms_norm_eps"]` rather than 1e-05."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.graph.weight_steps import Rows
from ftllm_nb.graph.weight_values import TensorHeader
from ftllm_nb.scaffold.formulas import WHOLE_PART, Formula, Formulas, Number, Vector
from ftllm_nb.scaffold.functions import identifier, short_name
from ftllm_nb.scaffold.variations import Variation

_TEXT = "text_config"
_CUTS = "Split"
_HEADS = ("q", "k", "v")
_TURNING = "turning"
"""What a whole part of a product is called: mostly how many features of a head turn."""


class Numbers:
    """The texts of a graph's numbers. `given`: config.json; `tensors`: the checkpoint's.

    `config`: what a file's build() reads. `assigned`: what it puts there, by entry the text of the value, or the value
    where that is no number made of others; `ratios`: names of quotients that were written, by their texts;
    `is_text_part`: whether all is said in config.json's text_config.
    """

    def __init__(
        self,
        graph: ComputeGraph,
        given: Mapping[str, Any],
        varied: Sequence[Variation],
        tensors: Mapping[str, TensorHeader],
    ) -> None:
        self._places = {id(call): place for place, call in enumerate(graph.calls)}
        self._varied = varied
        made = _entries(graph)
        self.is_text_part = (
            isinstance(given.get(_TEXT), Mapping) and "hidden_size" not in given and "hidden_size" in made
        )
        base, read = self._base(given), _read_by_engine(graph, tensors)
        added = {
            name: value
            for name, value in made.items()
            if name != "model_type" and (value != base[name] if name in base else value is not None)
            if read is None or name in read
        }
        self.config = base | added
        changed = [self._base(each.config) for each in varied]
        alone = [place for place, each in enumerate(varied, 1) if len(each.paths) == 1]
        of_given = Formulas([dict(_flat(each)) for each in (base, *changed)], alone)
        self.assigned = {name: self._made(of_given, name, value) for name, value in added.items()}
        for each, variation in zip(changed, varied, strict=True):
            after = _entries(variation.graph)
            each |= {name: after[name] for name in added if name in after}
        self._formulas = Formulas([dict(_flat(each)) for each in (self.config, *changed)], alone)
        self.doubts: list[str] = []
        self.ratios: dict[str, str] = {}
        self._order: dict[str, int] = {}
        self._learn_sizes(graph.calls)

    def text(self, call: Call, number: Callable[[Call], Any]) -> str:
        """Of a number of a call; what changes with entries in a way that is not found is one of `doubts`."""
        value = number(call)
        vector = self._vector(call, number)
        formula = self._formulas.find(vector)
        if formula is not None:
            return self._written(formula)
        if len(set(vector)) > 1:
            names = dict.fromkeys(
                path[-1] for path, other in zip(self._paths(), vector[1:], strict=True) if other != value
            )
            doubt = (
                f"{value!r} changes with {', '.join(names)}, in a way that is not known here: with another config.json "
                "it may be another one."
            )
            if doubt not in self.doubts:
                self.doubts.append(doubt)
        return repr(value) if value else repr(type(value)(0))

    def named_sizes(self, call: Call) -> Iterator[tuple[str, str]]:
        """Products of entries that a call shows the meaning of, and names for them: what a Split takes, the size of a
        head."""
        cut, head = call.operator.name == _CUTS, call.arguments.get("headDim")
        formula = None
        if cut:
            formula = self._formulas.find(self._vector(call, _width))
        elif isinstance(head, int):
            formula = self._formulas.find(self._vector(call, lambda other: other.arguments["headDim"]))
        if formula is None or len(formula.terms) != 1 or formula.terms[0].product.is_entry:
            return
        data = next((each.name for name, each in call.arguments.items()
                     if isinstance(each, DataReference) and name == ("output" if cut else "input")), "")  # fmt: skip
        name = f"{data}_size" if cut else "head_dim" if data in _HEADS else f"{data}_dim"
        yield formula.terms[0].product.text(), identifier(name)

    def _written(self, formula: Formula) -> str:
        """The formula, in whose sum stands first what was written first."""
        for term in formula.terms:
            self._order.setdefault(term.product.text(), len(self._order))
            if len(term.over) == len(term.under) == 1 and formula.is_whole:
                self.ratios[term.product.text()] = f"{short_name(term.over[0])}_per_{short_name(term.under[0])}"
        terms = sorted(formula.terms, key=lambda term: self._order[term.product.text()])
        text = dataclasses.replace(formula, terms=tuple(terms)).text()
        if formula.form == WHOLE_PART:
            self.ratios[text] = _TURNING
        return text

    def _base(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return dict(config) | (dict(config[_TEXT]) if self.is_text_part else {})

    def _made(self, formulas: Formulas, name: str, value: Any) -> Any:
        """The text of an entry that the architecture makes of others."""
        vector = (value, *(_entries(each.graph).get(name) for each in self._varied))
        if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in vector):
            return value
        formula = formulas.find(vector)
        return value if formula is None else formula

    def _vector(self, call: Call, number: Callable[[Call], Any]) -> Vector:
        place = self._places[id(call)]
        return (number(call), *(number(each.graph.calls[place]) for each in self._varied))

    def _paths(self) -> list[tuple[str, ...]]:
        return [path for each in self._varied for path in each.paths[:1]]

    def _learn_sizes(self, calls: Sequence[Call]) -> None:
        """What is cut out is looked for first: where a part begins is a sum of that."""
        for call in calls:
            if call.operator.name == _CUTS:
                self._formulas.learn(self._vector(call, _width))
            for name, given in call.arguments.items():
                if isinstance(given, WeightReference) and given.steps and isinstance(given.steps[0], Rows):
                    self._formulas.learn(self._vector(call, lambda other, name=name: _rows(other.arguments[name])))  # type: ignore[misc]


def _rows(weight: Any) -> int:
    return int(weight.steps[0].end - weight.steps[0].start)


def _width(call: Call) -> Number:
    start, end = call.arguments["start"], call.arguments["end"]
    assert isinstance(start, int) and isinstance(end, int)
    return end - start


def _entries(graph: ComputeGraph) -> dict[str, Any]:
    return graph.config.peek() if isinstance(graph.config, ReadConfig) else dict(graph.config)


def _read_by_engine(graph: ComputeGraph, tensors: Mapping[str, TensorHeader]) -> set[str] | None:
    """The entries that are read after build(); None where that cannot be known."""
    own = graph.config
    graph.config = config = ReadConfig(_entries(graph))
    try:
        check_graph(graph, tensors)
    except FtllmError:
        return None
    finally:
        graph.config = own
    return set(config.read)


def _flat(config: Mapping[str, Any], begin: str = "config") -> Iterator[tuple[str, Number]]:
    """Each number, by the text that reads it."""
    for name, value in config.items():
        text = f'{begin}["{name}"]'
        if isinstance(value, Mapping):
            yield from _flat(value, text)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield text, value

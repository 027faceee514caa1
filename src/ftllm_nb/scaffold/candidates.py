"""Which known architecture a checkpoint is nearest to: each is tried on its headers, and what is left over counts."""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ftllm_nb.models
from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.checkpoint_names import notes_on_biases, unread_tensors
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.inputs import LOGITS
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.graph.unread_entries import UnreadEntry, notes_on_unread, unread_by_users
from ftllm_nb.models import supported_architectures
from ftllm_nb.ops.base import Kind, Parameter
from ftllm_nb.scaffold.renaming import Renaming, found_names
from ftllm_nb.scaffold.variations import Variation, variations

_MISSING_WEIGHS = 2
"""How much more a kind of tensors counts that the checkpoint lacks than one that nothing reads."""
_PLAINEST = "llama"
"""Of architectures that fit equally well, the one of which the others are changes."""
_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act")
_USUAL_ACTIVATION = "silu"


@dataclass(frozen=True)
class Candidate:
    """An architecture on a checkpoint.

    `graph`: what its build() recorded. `problem`: why it cannot be checked, None where it can. `unread`: kinds of
    tensors that nothing reads, by the first of each; `missing`: those that it reads and the checkpoint lacks.
    `entries`: those of the config that matter and that it does not read; `notes`: what else is said of it. `read`: how
    many entries it reads; `absent`: how many it looks for in vain. `is_named`: by config.json's architectures.
    `activations`: entries that name one which it refuses. `renaming`: its tensors that the checkpoint has under other
    names; `shapes`: of those that it expects.
    """

    name: str
    graph: ComputeGraph
    problem: str | None
    unread: Mapping[str, int]
    missing: Mapping[str, int]
    entries: tuple[str, ...]
    notes: tuple[str, ...]
    read: int
    absent: int
    is_named: bool
    activations: Mapping[str, Any] = field(default_factory=dict)
    renaming: Renaming = field(default_factory=Renaming)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether nothing is left over and nothing is missing."""
        return not (self.problem or self.unread or self.missing or self.entries or self.notes or self.renaming.doubts)

    @property
    def rank(self) -> tuple[Any, ...]:
        """The nearest has the least: first what is wrong, then what config.json has no use for, then the name."""
        wrong = len(self.unread) + _MISSING_WEIGHS * len(self.missing) + len(self.entries) + len(self.notes)
        wrong += len(self.renaming.doubts)
        if wrong and self.problem is not None and not self.missing:
            wrong += _MISSING_WEIGHS
        refused = self.problem is not None and not wrong
        plainer = self.name != _PLAINEST, self.absent, len(self.graph.calls)
        return (refused, wrong, not self.is_named, -self.read, *plainer, self.name, len(self.renaming.names))


def nearest(checkpoint: Checkpoint) -> list[Candidate]:
    """All architectures that can be built with this config, the nearest first; where none reads a tensor, the plainest
    is. Where none fits as it is, each is tried as well on tensors that only have other names."""
    found = [candidate for name in supported_architectures() if (candidate := tried(name, checkpoint)) is not None]
    if not any(candidate.fits for candidate in found):
        found = [min(each, renamed(each, checkpoint) or each, key=lambda one: one.rank) for each in found]
    found.sort(key=lambda candidate: candidate.rank)
    if found and len(found[0].unread) == len(kinds(checkpoint.tensors)):
        found.sort(key=lambda candidate: candidate.name != _PLAINEST)
    return found


def tried(name: str, checkpoint: Checkpoint) -> Candidate | None:
    """An architecture on the checkpoint; None where it cannot even be built with this config.

    One that refuses nothing but the activation is built with the usual one, and the activation is an entry that it does
    not read: all else of the model may be as known.
    """
    try:
        return _candidate(name, checkpoint, {})
    except (FtllmError, ArithmeticError, AssertionError):
        activations = _activations(checkpoint.config)
    if not activations:
        return None
    try:
        return _candidate(name, checkpoint, activations)
    except (FtllmError, ArithmeticError, AssertionError):
        return None


def renamed(candidate: Candidate, checkpoint: Checkpoint) -> Candidate | None:
    """The same architecture with the checkpoint's names of its tensors; None where none has another."""
    held = {name: tuple(checkpoint.tensors[name].shape) for name in unread_tensors(checkpoint.tensors, ())}
    may_lack = candidate.shapes.keys() - _needed(candidate.graph)
    renaming = found_names(candidate.shapes, held, may_lack)
    return _candidate(candidate.name, checkpoint, candidate.activations, renaming) if renaming.names else None


def refusal(checkpoint: Checkpoint) -> str:
    """Why the plainest architecture cannot be built with the checkpoint's config: the end of a sentence."""
    try:
        _candidate(_PLAINEST, checkpoint, {})
    except (FtllmError, ArithmeticError, AssertionError) as error:
        return f"{_PLAINEST}, the plainest, says: {str(error).rstrip('.') or type(error).__name__}"
    return f"{_PLAINEST}, the plainest, can"


def _activations(config: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that name an activation, those of the text part first."""
    text = config.get("text_config")
    entries = {**config, **(text if isinstance(text, Mapping) else {})}
    return {name: entries[name] for name in _ACTIVATIONS if entries.get(name) is not None}


def _candidate(
    name: str, checkpoint: Checkpoint, activations: Mapping[str, Any], renaming: Renaming | None = None
) -> Candidate:
    """An architecture built with the usual activation where these entries name one; raises what build() raises."""
    known = _class_of(name)
    graph = _built(name, checkpoint, checkpoint.config, activations, renaming)
    shapes = _expected(graph, known.weight_shapes(graph))
    if renaming is not None:
        graph.calls = renaming.applied(graph.calls, checkpoint.tensors)
        shapes = {renaming.own_name(own): shape for own, shape in shapes.items()}
    problem, notes = None, tuple[str, ...]()
    try:
        checked = check_graph(graph, checkpoint.tensors)
    except FtllmError as error:
        problem = str(error)
    else:
        said = {*graph.notes, *notes_on_unread(graph), *notes_on_biases(checked.nodes, checked.unread_tensors)}
        notes = tuple(note for note in checked.notes if note not in said)
    read, missing = _weights(graph, checkpoint.tensors)
    entries = unread_by_users(graph)
    for entry, named in activations.items():
        graph.config[entry] = named
        entries.append(UnreadEntry(entry, named, "the activation is another one"))
    names = checkpoint.config.get("architectures")
    return Candidate(
        name=name,
        graph=graph,
        problem=problem,
        unread=kinds(unread_tensors(checkpoint.tensors, {*read, *graph.passed_over})),
        missing=kinds(missing),
        entries=tuple(map(str, entries)),
        notes=notes,
        read=len(graph.config.read) if isinstance(graph.config, ReadConfig) else 0,
        absent=len(graph.config.absent) if isinstance(graph.config, ReadConfig) else 0,
        is_named=isinstance(names, list) and _docstring_names(known, names),
        activations=activations,
        renaming=renaming or Renaming(),
        shapes=shapes,
    )


def _class_of(name: str) -> Any:
    return importlib.import_module(f"{ftllm_nb.models.__name__}.{name}").__model__


def _built(
    name: str,
    checkpoint: Checkpoint,
    config: Mapping[str, Any],
    activations: Mapping[str, Any],
    renaming: Renaming | None,
) -> ComputeGraph:
    known = _class_of(name)
    # As a user's own class it is told of what it leaves out, where one of ours would be refused.
    # What it declares of the checkpoint does not hold where that has other names.
    declared: dict[str, Any] = {} if renaming is None else {"weight_shapes": lambda graph: {}}
    graph_class = type(known.__name__, (known,), {"__module__": "init", **declared})
    usual = dict.fromkeys(activations, _USUAL_ACTIVATION)
    own = copy.deepcopy(dict(config)) | {"model_type": name} | usual
    if isinstance(own.get("text_config"), dict):
        own["text_config"] |= usual
    return build_graph(
        graph_class, own, checkpoint.tokenizer_config, checkpoint.generation_config, checkpoint.tensors
    )


def variations_of(candidate: Candidate, checkpoint: Checkpoint) -> list[Variation]:
    """The candidate's graph where one entry of the config is another, on the checkpoint's own names."""
    name, renaming = candidate.name, candidate.renaming

    def build(config: dict[str, Any]) -> ComputeGraph:
        graph = _built(name, checkpoint, config, candidate.activations, renaming if renaming.names else None)
        if renaming.names:
            shapes = _class_of(name).weight_shapes(graph)
            graph.calls = renaming.resized(shapes).applied(graph.calls, checkpoint.tensors)
        return graph

    return variations(candidate.graph, checkpoint.config, build)


def kinds(names: Iterable[str]) -> dict[str, int]:
    """How many tensors there are of each kind: of names that differ in numbers alone; by the first name."""
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name in names:
        kind = first.setdefault(re.sub(r"\d+", "*", name), name)
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _docstring_names(known: type[ComputeGraph], names: list[Any]) -> bool:
    """Whether the class says that it is the graph of one of the classes that config.json names."""
    return any(isinstance(name, str) and f"`{name}`" in (known.__doc__ or "") for name in names)


def _weights(graph: ComputeGraph, tensors: Mapping[str, TensorInfo]) -> tuple[set[str], list[str]]:
    """The names that are read, and those that the checkpoint lacks, but for biases and a tied head."""
    read = {weight.name for _, _, weight in _read(graph)}
    return read, [name for name in _needed(graph) if name not in tensors]


def _read(graph: ComputeGraph) -> Iterator[tuple[Call, Parameter, WeightReference]]:
    """Each weight that a call reads."""
    for call in graph.calls:
        for parameter in call.operator.parameters:
            argument = call.arguments[parameter.name]
            for each in argument if isinstance(argument, tuple) else (argument,):
                if isinstance(each, WeightReference):
                    yield call, parameter, each


def _needed(graph: ComputeGraph) -> dict[str, None]:
    """The names of weights that are read and must be there, in order: all but biases and a tied head."""
    logits = DataReference(LOGITS)
    return {
        weight.name: None
        for call, parameter, weight in _read(graph)
        if parameter.kind is not Kind.OPTIONAL_WEIGHT
        and not (parameter.may_be_embedding and logits in call.arguments.values())
    }


def _expected(graph: ComputeGraph, declared: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes that the config gives to what the architecture reads, with biases that it can do without."""
    shapes = dict(declared)
    beside: dict[int, tuple[int, ...]] = {}
    for call, parameter, weight in _read(graph):
        if parameter.kind is Kind.OPTIONAL_WEIGHT and call.index in beside:
            shapes.setdefault(weight.name, beside[call.index][:1])
        elif weight.name in declared and not weight.steps:
            beside[call.index] = declared[weight.name]
    return shapes

"""Which known architecture a checkpoint is nearest to: each is tried on its headers, and what is left over counts."""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ftllm_nb.models
from ftllm_nb.checkpoint import Checkpoint, TensorInfo
from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.checkpoint_names import unread_tensors
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.inputs import LOGITS
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import DataReference, WeightReference
from ftllm_nb.graph.unread_entries import UnreadEntry, notes_on_unread, unread_by_users
from ftllm_nb.models import supported_architectures
from ftllm_nb.ops.base import Kind

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

    @property
    def fits(self) -> bool:
        """Whether nothing is left over and nothing is missing."""
        return not (self.problem or self.unread or self.missing or self.entries or self.notes)

    @property
    def rank(self) -> tuple[Any, ...]:
        """The nearest has the least: first what is wrong, then what config.json has no use for, then the name."""
        wrong = len(self.unread) + _MISSING_WEIGHS * len(self.missing) + len(self.entries) + len(self.notes)
        refused = self.problem is not None and not wrong
        plainer = self.name != _PLAINEST, self.absent, len(self.graph.calls)
        return (refused, wrong, not self.is_named, -self.read, *plainer, self.name)


def nearest(checkpoint: Checkpoint) -> list[Candidate]:
    """All architectures that can be built with this config, the nearest first; where none reads a tensor, the plainest
    is."""
    found = [candidate for name in supported_architectures() if (candidate := tried(name, checkpoint)) is not None]
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


def _candidate(name: str, checkpoint: Checkpoint, activations: Mapping[str, Any]) -> Candidate:
    """An architecture built with the usual activation where these entries name one; raises what build() raises."""
    known = importlib.import_module(f"{ftllm_nb.models.__name__}.{name}").__model__
    # As a user's own class it is told of what it leaves out, where one of ours would be refused.
    graph_class = type(known.__name__, (known,), {"__module__": "init"})
    usual = dict.fromkeys(activations, _USUAL_ACTIVATION)
    config = copy.deepcopy(checkpoint.config) | {"model_type": name} | usual
    if isinstance(config.get("text_config"), dict):
        config["text_config"] |= usual
    graph = build_graph(
        graph_class, config, checkpoint.tokenizer_config, checkpoint.generation_config, checkpoint.tensors
    )
    problem, notes = None, tuple[str, ...]()
    try:
        checked = check_graph(graph, checkpoint.tensors)
    except FtllmError as error:
        problem = str(error)
    else:
        said = {*graph.notes, *notes_on_unread(graph)}
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
    )


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
    read: set[str] = set()
    missing: dict[str, None] = {}
    for call in graph.calls:
        makes_logits = DataReference(LOGITS) in call.arguments.values()
        for parameter in call.operator.parameters:
            argument = call.arguments[parameter.name]
            for each in argument if isinstance(argument, tuple) else (argument,):
                if not isinstance(each, WeightReference):
                    continue
                read.add(each.name)
                is_head = parameter.may_be_embedding and makes_logits
                may_lack = parameter.kind is Kind.OPTIONAL_WEIGHT or is_head
                if each.name not in tensors and not may_lack:
                    missing[each.name] = None
    return read, list(missing)

"""Trying what may be wrong: the graph with a change, evaluated up to the place where it parted."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ftllm_nb.engine.evaluation import Evaluation, evaluate
from ftllm_nb.engine.float_weights import FloatWeights
from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.call import Call
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.compute_graph import ComputeGraph
from ftllm_nb.graph.ir import CheckedGraph, Node
from ftllm_nb.graph.read_config import ReadConfig
from ftllm_nb.graph.references import Argument
from ftllm_nb.graph.weight_values import TensorHeader
from ftllm_nb.verification.pairing import LOGITS, Site, pair
from ftllm_nb.verification.parting import Parting
from ftllm_nb.verification.reference import Reference

Edit = Callable[[Call], list[Call]]
"""What stands in a call's place."""


@dataclass(frozen=True)
class Change:
    """Something that may have been meant. `sentence`: what is wrong, for the user; `call`: the call that it is about;
    `edits`: by index of a call, what stands in its place; `config`: entries that are changed; `edit`: of the other
    calls of its line; `is_proven`: whether there is nothing to try, since numbers show it."""

    sentence: str
    call: Call
    edits: dict[int, list[Call]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    edit: Edit | None = None
    is_proven: bool = False


@dataclass
class Ground:
    """What trials are made on: a graph as it was built, what it was compared with, and where they parted. `deadline`:
    in `now()`; `widely`: whether all suspects are asked."""

    built: ComputeGraph
    graph: CheckedGraph
    tensors: dict[str, TensorHeader]
    weights: FloatWeights
    evaluations: Sequence[Evaluation]
    reference: Reference
    parting: Parting
    deadline: float
    tried: int = 0
    widely: bool = False

    @property
    def calls(self) -> list[Call]:
        """The recorded ones."""
        return self.built.calls

    @property
    def suspects(self) -> list[Call]:
        """The calls between what agreed and the parting, the last one first, and the one that reads there."""
        nodes = self.parting.more_suspects if self.widely else self.parting.suspects
        calls = [node.call for node in reversed(nodes)]
        own = self.parting.site.node.call
        return calls if own in calls else [*calls, own]

    def node_of(self, call: Call) -> Node | None:
        """The node of a call."""
        return next((node for node in self.graph.nodes if node.call is call), None)

    def works(self, change: Change) -> bool:
        """Whether the place agrees with it."""
        if change.is_proven:
            return True
        if now() > self.deadline:
            return False
        self.tried += 1
        return self._difference(change, True) <= max(self.parting.noise, self.reference.noise)

    def logits_difference(self, change: Change) -> float:
        """How far the logits are with it, in all calls of the same line."""
        return self._difference(change, False)

    def _difference(self, change: Change, at_parting: bool) -> float:
        try:
            graph = self._changed(change, everywhere=not at_parting)
        except FtllmError:
            return float("inf")
        key = self.parting.site.key if at_parting else LOGITS
        found = [site for site in self._sites(graph) if site.key == key]
        if not found:
            return float("inf")
        site, worst = found[0], 0.0
        until = site.node if site.role == "output" else _maker(graph, site)
        for evaluation, recording in zip(self.evaluations, self.reference.recordings, strict=True):
            try:
                with np.errstate(all="ignore"):  # what is tried may be nonsense, and nobody asked for it
                    tried = evaluate(graph, self.weights, evaluation.token_ids, earlier=evaluation, until=until)
            except FtllmError:
                return float("inf")
            difference = site.difference(tried, recording)
            worst = max(worst, float("inf") if difference is None else difference)
        return worst

    def _sites(self, graph: CheckedGraph) -> list[Site]:
        return pair(graph, self.reference, {name: tuple(each.shape) for name, each in self.tensors.items()})

    def _changed(self, change: Change, everywhere: bool) -> CheckedGraph:
        """The checked graph with the change; raises `FtllmError` where it is none."""
        graph = copy.copy(self.built)
        graph.config = ReadConfig({**copy.deepcopy(dict(dict.items(self.built.config))), **change.config})
        list(graph.config.items())  # all are read: that was checked before
        graph.calls = []
        for call in self.built.calls:
            if call.index in change.edits:
                graph.calls += change.edits[call.index]
            elif everywhere and change.edit is not None and same_line(call, change.call):
                graph.calls += change.edit(call)
            else:
                graph.calls.append(call)
        return check_graph(graph, self.tensors)


def now() -> float:
    """Seconds that this thread has computed: others that are busy leave as many trials."""
    return time.thread_time()


def _maker(graph: CheckedGraph, site: Site) -> Node:
    return site.value.producer or site.node


def same_line(call: Call, other: Call) -> bool:
    """Whether both were written by one line of a file; calls that have none are alone."""
    return call is other or (
        call.line is not None and (call.file, call.line, call.operator) == (other.file, other.line, other.operator)
    )


def with_arguments(call: Call, **arguments: Argument) -> Call:
    """A call with other arguments."""
    return dataclasses.replace(call, arguments={**call.arguments, **arguments})


def one_call(sentence: str, call: Call, edit: Edit) -> Change:
    """A change of a call, and of those of its line alike."""
    return Change(sentence, call, {call.index: edit(call)}, edit=edit)

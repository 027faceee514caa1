"""A weight of another place: what this one reads is what another weight of that shape stands for in the reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import WeightReference
from ftllm_nb.verification.causes.weights import renamed
from ftllm_nb.verification.reference import distance
from ftllm_nb.verification.trial import Change, Ground, same_line, with_arguments

RANK = 14
_IN = ">in"


def changes(ground: Ground) -> Iterator[Change]:
    """Both exchanged, in all calls of their lines; else, since the data shows it, the one weight that belongs here."""
    site = ground.parting.site
    if site.role != "input":
        return  # an operator stands for its weight's module: where that is another's, what it reads differs
    call = site.node.call
    for parameter, given in call.arguments.items():
        if not isinstance(given, WeightReference) or given.name not in ground.tensors:
            continue
        for other in _that_stand_here(ground, given.name):
            readers = _readers(ground, other)
            if not readers or any(_reads_what_it_should(ground, each, other) for each in readers):
                continue  # operators between may be missing
            yield _exchanged(ground, call, readers[0], given.name, other)
            yield Change(
                f'weight["{given.name}"] is read here as {parameter}, and in the reference weight["{other}"], which '
                f"{readers[0].operator.name} at {readers[0].where} reads",
                call,
                is_proven=True,
            )


def _that_stand_here(ground: Ground, tensor: str) -> list[str]:
    """Tensors of the same shape whose modules read in the reference what this place reads."""
    ours, values = ground.parting.site.ours(ground.evaluations[0]), ground.reference.recordings[0].values
    limit = max(ground.parting.noise, ground.reference.noise)
    shape = tuple(ground.tensors[tensor].shape)
    return [
        other
        for other, modules in ground.reference.modules.items()
        if other != tensor and other in ground.tensors and tuple(ground.tensors[other].shape) == shape
        and any(
            place in values and distance(ours, values[place]) <= limit for place in (f"{each}{_IN}" for each in modules)
        )
    ]  # fmt: skip


def _readers(ground: Ground, tensor: str) -> list[Call]:
    return [call for call in ground.calls if any(_names(each, tensor) for each in call.arguments.values())]


def _reads_what_it_should(ground: Ground, call: Call, tensor: str) -> bool:
    """Whether a call reads what the tensor's module reads in the reference."""
    node, values = ground.node_of(call), ground.reference.recordings[0].values
    theirs = [
        values[place] for each in ground.reference.modules[tensor] if (place := f"{each}{_IN}") in values
    ]
    limit = max(ground.parting.noise, ground.reference.noise)
    arrays = [
        ground.evaluations[0].arrays[value]
        for value in (node.inputs.values() if node is not None else ())
        if value.kind == "data"
    ]
    flat = [np.asarray(each, np.float32).reshape(each.shape[1], -1) for each in arrays if each.ndim > 2]
    return any(distance(ours, each) <= limit for ours in flat for each in theirs if each.shape == ours.shape)


def _exchanged(ground: Ground, here: Call, there: Call, one: str, other: str) -> Change:
    """The calls of both lines, each with the other's weight: in all layers."""
    edits = {
        call.index: [_with_the_other(call, one, other)]
        for call in ground.calls
        if same_line(call, here) or same_line(call, there)
    }
    sentence = (
        f'weight["{one}"] and weight["{other}"] are exchanged: {there.operator.name} at {there.where} reads the latter'
    )
    return Change(sentence, here, edits)


def _with_the_other(call: Call, one: str, other: str) -> Call:
    changed = call
    for name, given in call.arguments.items():
        if isinstance(given, WeightReference):
            new = renamed(call, name, one, other).arguments[name]
            new = renamed(call, name, other, one).arguments[name] if new == given else new
            changed = with_arguments(changed, **{name: new})
    return changed


def _names(argument: object, tensor: str) -> bool:
    return isinstance(argument, WeightReference) and argument.name == tensor

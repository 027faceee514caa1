"""The first place where a graph and a reference part, and the operators that may be to blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.evaluation import Evaluation
from ftllm_nb.graph.ir import Node, Value
from ftllm_nb.verification.pairing import LOGITS, Site
from ftllm_nb.verification.reference import Recording, Reference, distance

_JUMP = 10.0
"""So many times what came before is no rounding any more."""


@dataclass(frozen=True)
class Parting:
    """`site`: where they part, by `difference`, a part of theirs, and by `largest` at most, at token `token`.
    `suspects`: the nodes between what still agreed and there, in order; never empty; `more_suspects`: with those that
    make what the reference has as well, but perhaps elsewhere. `agreed`: the last sites before,
    with their difference."""

    site: Site
    difference: float
    largest: float
    token: int
    ours_shape: tuple[int, ...]
    theirs_shape: tuple[int, ...]
    suspects: tuple[Node, ...]
    more_suspects: tuple[Node, ...]
    agreed: tuple[Site, float] | None
    noise: float


Differences = dict[str, float]
"""By the key of a site; sites that cannot be compared are not there."""


def differences(
    sites: Sequence[Site], evaluations: Sequence[Evaluation], recordings: Sequence[Recording]
) -> Differences:
    """How far each site is from its place, over all texts: the largest."""
    found: Differences = {}
    for site in sites:
        each = [site.difference(*pair) for pair in zip(evaluations, recordings, strict=True)]
        known = [difference for difference in each if difference is not None]
        if known:
            found[site.key] = max(known)
    return found


def find_parting(
    sites: Sequence[Site], evaluations: Sequence[Evaluation], reference: Reference
) -> Parting | None:
    """None where the logits agree: then all that differs before them makes no difference."""
    recordings = reference.recordings
    found = differences(sites, evaluations, recordings)
    if found.get(LOGITS, np.inf) <= reference.tolerance:
        return None
    compared = [site for site in sites if site.key in found]
    followers = _followers(compared, evaluations[0].graph.nodes)
    agreed: tuple[Site, float] | None = None
    noise = reference.noise / _JUMP
    first = None
    for site in compared:
        difference = found[site.key]
        if difference <= max(reference.noise, _JUMP * noise):
            if difference <= reference.tolerance:
                noise, agreed = max(noise, difference), (site, difference)
            continue
        after = followers[site.key]
        if not after or found[after[0]] > max(reference.noise, _JUMP * noise):
            first = site
            break
    if first is None:  # it grew little by little
        first = next(site for site in compared if found[site.key] > reference.tolerance)
    limit = max(reference.noise, _JUMP * noise)
    trusted = {site.value for site in compared if found[site.key] <= limit}
    known = _known_values(evaluations[0], recordings[0], limit)
    suspects = _suspects(first, trusted | known, evaluations[0])
    largest, token = _largest(first, evaluations[0], recordings[0])
    theirs = first.theirs(recordings[0])
    return Parting(
        first, found[first.key], largest, token, first.ours(evaluations[0]).shape,
        theirs[0].shape if theirs else (), suspects, _suspects(first, trusted, evaluations[0]), agreed, limit,
    )  # fmt: skip


def _followers(sites: Sequence[Site], nodes: Sequence[Node]) -> dict[str, list[str]]:
    """By site, those that what it holds reaches without passing another one, in their order."""
    order = {site.key: number for number, site in enumerate(sites)}
    readers: dict[Value, list[Node]] = {}
    for node in nodes:
        for value in node.inputs.values():
            if value.kind == "data":
                readers.setdefault(value, []).append(node)
    as_input: dict[tuple[int, Value], list[Site]] = {}
    as_output: dict[Value, list[Site]] = {}
    for site in sites:
        if site.role == "output":
            as_output.setdefault(site.value, []).append(site)
        else:
            as_input.setdefault((id(site.node), site.value), []).append(site)

    def after(site: Site) -> list[str]:
        found: dict[str, None] = {}
        seen: set[Value] = set()
        if site.role == "output":
            others = [each for each in as_output[site.value] if each is not site and each.key == LOGITS]
            waiting = [(node, site.value) for node in readers.get(site.value, ())]
            found.update((each.key, None) for each in others)
        else:
            waiting = []
            _reach_outputs(site.node, waiting, found, seen)
        while waiting:
            node, value = waiting.pop()
            if here := as_input.get((id(node), value)):
                found.update((each.key, None) for each in here)
                continue
            _reach_outputs(node, waiting, found, seen)
        return sorted(found, key=order.__getitem__)

    def _reach_outputs(
        node: Node, waiting: list[tuple[Node, Value]], found: dict[str, None], seen: set[Value]
    ) -> None:
        for value in node.outputs.values():
            if value in seen:
                continue
            seen.add(value)
            if here := as_output.get(value):
                found.update((each.key, None) for each in here)
            else:
                waiting.extend((reader, value) for reader in readers.get(value, ()))

    return {site.key: after(site) for site in sites}


def _known_values(evaluation: Evaluation, recording: Recording, limit: float) -> set[Value]:
    """Data that the reference has as well, wherever that is: what made it is no suspect."""
    by_shape: dict[tuple[int, ...], list[tuple[float, NDArray[np.float32]]]] = {}
    for theirs in recording.values.values():
        by_shape.setdefault(theirs.shape, []).append((float(np.linalg.norm(theirs)), theirs))
    found = set()
    for node in evaluation.graph.nodes:
        for value in node.outputs.values():
            array = evaluation.arrays[value]
            if array.ndim < 3 or array.shape[1] != len(recording.token_ids):
                continue
            flat = array.reshape(array.shape[1], -1)
            size = float(np.linalg.norm(flat))
            for length, theirs in by_shape.get(flat.shape, ()):
                if abs(length - size) <= limit * length and distance(flat, theirs) <= limit:
                    found.add(value)
                    break
    return found


def _suspects(site: Site, trusted: set[Value], evaluation: Evaluation) -> tuple[Node, ...]:
    """The nodes from what is trusted to the site, in the order of the graph."""
    chosen: set[int] = set()
    if site.role == "output" and site.node.outputs:
        waiting = [site.value]
        trusted = trusted - {site.value}
    else:
        waiting = [site.value]
    while waiting:
        value = waiting.pop()
        if value.kind != "data" or value in trusted or value.producer is None or id(value.producer) in chosen:
            continue
        chosen.add(id(value.producer))
        waiting.extend(value.producer.inputs.values())
    nodes = [node for node in evaluation.graph.nodes if id(node) in chosen]
    return tuple(nodes) if nodes else (site.node,)


def _largest(site: Site, evaluation: Evaluation, recording: Recording) -> tuple[float, int]:
    """The largest difference of a number, and the token where it is."""
    ours = site.ours(evaluation)
    theirs = [each for each in site.theirs(recording) if each.shape == ours.shape]
    if not theirs:
        return float("inf"), 0
    with np.errstate(all="ignore"):
        apart = np.abs(ours.astype(np.float64) - min(theirs, key=lambda each: distance(ours, each)))
    apart = np.where(np.isfinite(apart), apart, np.inf)
    return float(apart.max()), int(apart.max(axis=1).argmax())



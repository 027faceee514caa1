"""What the reference has, as what the graph has times a number, or as a sum of what it computed before."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.graph.ir import Node, Value
from ftllm_nb.verification.causes.numbers import flat_config
from ftllm_nb.verification.reference import distance
from ftllm_nb.verification.trial import Change, Ground

RANK = 50
_MOST_NODES = 40
_SAMPLE = 4096
_NO_FACTOR = re.compile(r"(^|\.)(num_|n_|max_)|token|theta|eps|range")
"""Entries of the config by which nothing is multiplied: numbers of layers, ids of tokens."""


def changes(ground: Ground) -> Iterator[Change]:
    """One that is proven at once: there is nothing to try."""
    site, evaluation = ground.parting.site, ground.evaluations[0]
    ours = site.ours(evaluation)
    theirs = next((each for each in site.theirs(ground.reference.recordings[0]) if each.shape == ours.shape), None)
    if theirs is None or not np.isfinite(ours).all():
        return
    call = ground.suspects[0]
    limit = 20 * max(ground.parting.noise, ground.reference.noise)
    factor = float((ours * theirs).sum()) / max(float((ours * ours).sum()), 1e-30)
    if factor and distance(ours * np.float32(factor), theirs) <= limit:
        yield Change(f"theirs is ours times {factor:.6g}{_meaning(ground, factor)}", call, is_proven=True)
    known = _known(ground)
    for count in (1, 2, 3):
        sums = [
            (numbers, chosen)
            for chosen in itertools.combinations(known, count)
            if (numbers := _solved([array for _, _, array in chosen], theirs, limit)) is not None
        ]
        if sums:
            numbers, chosen = min(sums, key=lambda each: oddness(each[0]))
            text = " + ".join(
                f'{"" if abs(number - 1) < 1e-3 else f"{number:.5g} · "}data["{value.name}"] of '
                f"{node.operator.name} at {node.call.where}"
                for number, (node, value, _) in zip(numbers, chosen, strict=True)
            )
            yield Change(f"what the reference has there is {text}", call, is_proven=True)
            return


def oddness(numbers: list[float]) -> int:
    """How far a sum is from a plain one: the same may be said of sums of sums, with numbers that nobody wrote."""
    return sum((abs(number - 1) >= 1e-3) + (number < 0) for number in numbers)


def _known(ground: Ground) -> list[tuple[Node, Value, NDArray[np.float32]]]:
    """What was computed before, the newest first, each array once."""
    evaluation, site, nodes = ground.evaluations[0], ground.parting.site, ground.graph.nodes
    tokens, size = evaluation.arrays[site.value].shape[1], evaluation.arrays[site.value].size
    end = nodes.index(site.node)
    found: list[tuple[Node, Value, NDArray[np.float32]]] = []
    for node in reversed(nodes[max(0, end - _MOST_NODES) : end]):
        for value in node.outputs.values():
            array = evaluation.arrays[value]
            if array.size == size and array.ndim > 2 and array.shape[1] == tokens:
                flat = array.reshape(tokens, -1)
                if not any(flat is other or np.array_equal(flat, other) for _, _, other in found):
                    found.append((node, value, flat))
    return found[:14]


def _solved(arrays: list[NDArray[np.float32]], theirs: NDArray[np.float32], limit: float) -> list[float] | None:
    """The numbers by which the arrays add up to theirs; None where they do not, or one is not needed."""
    rows = [array.reshape(-1)[:_SAMPLE].astype(np.float64) for array in arrays]
    wanted = theirs.reshape(-1)[:_SAMPLE].astype(np.float64)
    numbers, _, rank, _ = np.linalg.lstsq(np.stack(rows, axis=1), wanted, rcond=None)
    if rank < len(rows) or (np.abs(numbers) < 1e-3).any():
        return None
    whole = sum(number * array.astype(np.float64) for number, array in zip(numbers, arrays, strict=True))
    return [float(number) for number in numbers] if distance(np.asarray(whole), theirs) <= limit else None


def _meaning(ground: Ground, factor: float) -> str:
    """Where a number may be from."""
    for entry, number in flat_config(ground.built.config).items():
        if number <= 0 or number == 1 or _NO_FACTOR.search(entry):
            continue
        forms = {number: entry, math.sqrt(number): f"{entry} ** 0.5", number**-0.5: f"{entry} ** -0.5",
                 1 / number: f"1 / {entry}"}  # fmt: skip
        for value, text in forms.items():
            if math.isclose(value, factor, rel_tol=1e-4):
                return f", {text}"
    return ""

"""Where the layers of a model begin and end among its operators, by the numbers in the names of their weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_NUMBERED = re.compile(r"^(.*?\.)(\d+)\.")

Signature = Callable[[int, str], Hashable]
"""signature(place, prefix): what is the same of operators in alike layers, of the operator at a place."""


@dataclass(frozen=True)
class Bounds:
    """`prefix`: what the names of layers' weights begin with, "" where none has a number. `layers`: of each its number,
    the place of its first operator, and the one after its last."""

    prefix: str
    layers: tuple[tuple[int, int, int], ...]


def layer_bounds(names: Sequence[Sequence[str]], signature: Signature, leaves: Callable[[int], bool]) -> Bounds:
    """The layers of operators that read these tensors each. `leaves`: whether an operator stands behind all layers,
    since it takes single tokens."""
    prefix = _layers_prefix(names)
    cuts = _cuts(names, prefix)
    if len(cuts) < 2:
        return Bounds(prefix, ())
    numbers, starts = list(cuts), list(cuts.values())
    signatures = [
        tuple(signature(place, prefix) for place in range(start, end)) for start, end in pairwise([*starts, len(names)])
    ]
    end = starts[-1] + _length_of_last(signatures, [leaves(place) for place in range(starts[-1], len(names))])
    return Bounds(prefix, tuple(zip(numbers, starts, [*starts[1:], end], strict=True)))


def number_of(name: str, prefix: str) -> int | None:
    """The number of the layer that a tensor of this name belongs to."""
    match = _NUMBERED.match(name)
    return int(match[2]) if match is not None and match[1] == prefix else None


def _layers_prefix(names: Sequence[Sequence[str]]) -> str:
    """What most numbered names begin with, before the number."""
    found = Counter(match[1] for row in names for name in row[:1] if (match := _NUMBERED.match(name)) is not None)
    return found.most_common(1)[0][0] if found else ""


def _cuts(names: Sequence[Sequence[str]], prefix: str) -> dict[int, int]:
    """The place of the first operator of each layer, by the layer's number: numbers never fall."""
    cuts: dict[int, int] = {}
    current = -1
    for place, row in enumerate(names):
        numbers = [each for name in row[:1] if (each := number_of(name, prefix)) is not None]
        number = max(numbers, default=current)
        if number > current:
            cuts[number], current = place, number
    return cuts


def _length_of_last(signatures: list[tuple[Hashable, ...]], leaves: list[bool]) -> int:
    """How many operators the last layer has: as many as a layer before it that begins as it does, else up to where
    single tokens are taken."""
    last = signatures[-1]
    for other in reversed(signatures[:-1]):
        if last[: len(other)] == other:
            return len(other)
    return leaves.index(True) if True in leaves else len(last)

"""Kinds of layers side by side: what all of them do, and what lies between that."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

Kind = Sequence[Hashable]


@dataclass(frozen=True)
class Gap:
    """What each kind does for itself. `places`: by kind, where in it that is; `kinds`: those that do the same."""

    places: tuple[range, ...]
    kinds: tuple[tuple[int, ...], ...]


def merged(kinds: Sequence[Kind]) -> Iterator[tuple[int, ...] | Gap]:
    """In order: the places, by kind, of what all do, and the gaps between."""
    shared = list(kinds[0])
    for kind in kinds[1:]:
        blocks = SequenceMatcher(None, shared, list(kind), autojunk=False).get_matching_blocks()
        shared = [shared[block.a + at] for block in blocks for at in range(block.size)]
    done = [0] * len(kinds)
    for step in (*shared, None):
        ends = [_find(kind, step, start) for kind, start in zip(kinds, done, strict=True)]
        places = tuple(range(start, end) for start, end in zip(done, ends, strict=True))
        if any(places):
            alike: dict[tuple[Hashable, ...], list[int]] = {}
            for number, (kind, own) in enumerate(zip(kinds, places, strict=True)):
                alike.setdefault(tuple(kind[at] for at in own), []).append(number)
            yield Gap(places, tuple(map(tuple, alike.values())))
        if step is not None:
            yield tuple(ends)
        done = [end + 1 for end in ends]


def _find(kind: Kind, step: Hashable | None, start: int) -> int:
    """Where a kind does this from a place on; None is its end."""
    return next((at for at in range(start, len(kind)) if kind[at] == step), len(kind))

"""Which type each matrix gets, so that the sum of what all lose is least at a given number of bits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A type that a matrix can have: bits it takes in all, and what is lost with it."""

    dtype: str
    bits: float
    loss: float


def allocate(options: Mapping[str, Sequence[Option]], bits: float) -> dict[str, Option]:
    """An option for each matrix. All together take at most so many bits; where even the smallest take more, they are
    chosen.

    From the smallest ones up, the step that saves most for its bits is taken as long as one fits: of each matrix those
    on the lower convex hull, which makes the sum the least there is for the bits that are spent, but for the last ones.
    """
    hulls = {name: lower_hull(each) for name, each in options.items()}
    chosen = {name: hull[0] for name, hull in hulls.items()}
    left = bits - sum(option.bits for option in chosen.values())
    steps = sorted(
        (
            ((low.loss - high.loss) / (high.bits - low.bits), name, number)
            for name, hull in hulls.items()
            for number, (low, high) in enumerate(itertools.pairwise(hull))
        ),
        key=lambda step: (-step[0], step[1:]),
    )
    stopped: set[str] = set()
    for _, name, number in steps:
        low, high = hulls[name][number : number + 2]
        if name in stopped or high.bits - low.bits > left:
            stopped.add(name)
            continue
        left -= high.bits - low.bits
        chosen[name] = high
    return chosen


def lower_hull(options: Sequence[Option]) -> list[Option]:
    """Those that no mixture of others beats, by rising bits and falling loss."""
    hull: list[Option] = []
    for option in sorted(options, key=lambda option: (option.bits, option.loss)):
        if hull and option.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and not _is_below(hull[-2], hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _is_below(first: Option, middle: Option, last: Option) -> bool:
    """Whether the middle one lies below the line between the others."""
    slope = (last.loss - first.loss) / (last.bits - first.bits)
    return middle.loss < first.loss + slope * (middle.bits - first.bits)

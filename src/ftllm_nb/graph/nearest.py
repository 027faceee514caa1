"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_MOST_CANDIDATES = 2000
_MOST_ALIKE = 12
_LEAST_ALIKE = 0.5
_LEAST_HELD = 6
"""Letters of an operator that a longer name may be meant for: fewer are in many words."""
_MOST_NAMED = 3
_NUMBER = re.compile(r"\d+")


def nearest_names(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` candidates that look like `name`, the nearest first.

    Where candidates hold the same numbers as `name`, only these count: a misspelt weight of layer 3 is not
    one of layer 8. It also keeps checkpoints of tens of thousands of tensors fast.
    """
    all_candidates = list(candidates)
    numbers = _NUMBER.findall(name)
    alike = [candidate for candidate in all_candidates if _NUMBER.findall(candidate) == numbers]
    for pool in (alike, all_candidates[:_MOST_CANDIDATES]):
        by_lower_case = {candidate.lower(): candidate for candidate in pool}
        found = difflib.get_close_matches(name.lower(), by_lower_case, n=_MOST_ALIKE, cutoff=0.6)
        meant = [by_lower_case[lower] for lower in found if _differ_little(name.lower(), lower)]
        if meant:
            return meant[:count]
    return []


def _differ_little(one: str, other: str) -> bool:
    """Whether what is left is alike as well, without the parts between dots that both begin and end with.

    Weights of one layer share most of their letters, and need not be alike for that.
    """
    ours, theirs = one.split("."), other.split(".")
    for place in (0, -1):
        while ours and theirs and ours[place] == theirs[place]:
            del ours[place], theirs[place]
    rest = ".".join(ours), ".".join(theirs)
    return not all(rest) or difflib.SequenceMatcher(None, rest[1], rest[0]).ratio() >= _LEAST_ALIKE


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean "a" or "b"?`, or a full stop where nothing is near."""
    return _asked(nearest_names(name, candidates))


def did_you_mean_operator(name: str, operators: Iterable[str]) -> str:
    """As `did_you_mean`, of operators, whose names are made of words: those that hold `name`, or that it holds, go
    before those that only share letters with it."""
    known, lower = sorted(operators, key=len), name.lower()
    holding = [each for each in known if lower in each.lower()]
    held = [each for each in reversed(known) if len(each) >= _LEAST_HELD and each.lower() in lower]
    return _asked((holding or held or nearest_names(name, known))[:_MOST_NAMED])


def _asked(names: list[str]) -> str:
    return f"; did you mean {join_quoted(names, 'or')}?" if names else "."


def join_quoted(names: Iterable[str], conjunction: str = "and") -> str:
    """`"a", "b" and "c"`."""
    quoted = [f'"{name}"' for name in names]
    return f" {conjunction} ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def numbers_present(name: str, candidates: Iterable[str]) -> list[int]:
    """The first number of the candidates that equal `name` but for it: the layers that a checkpoint holds."""
    match = _NUMBER.search(name)
    if match is None:
        return []
    head, tail = name[: match.start()], name[match.end() :]
    middles = (
        candidate[len(head) : len(candidate) - len(tail)]
        for candidate in candidates
        if candidate.startswith(head) and candidate.endswith(tail) and len(candidate) > len(head) + len(tail)
    )
    return sorted(int(middle) for middle in middles if middle.isdecimal())

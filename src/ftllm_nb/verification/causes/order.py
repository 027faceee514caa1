"""Two operators in the other order: a norm before or after a rotation, a sum, an activation."""

from __future__ import annotations

from collections.abc import Iterator

from ftllm_nb.graph.call import Call
from ftllm_nb.graph.references import DataReference
from ftllm_nb.verification.trial import Change, Ground

RANK = 34
_NEAR = 6
"""Calls that may stand between the two."""


def changes(ground: Ground) -> Iterator[Change]:
    """Each two near suspects exchanged, and each put where another stands."""
    places = {id(call): index for index, call in enumerate(ground.calls)}
    suspects = sorted(ground.suspects, key=lambda call: places[id(call)])
    for later in reversed(suspects):
        end = places[id(later)]
        for earlier in reversed(ground.calls[max(0, end - _NEAR) : end]):
            if not _reaches(later, earlier):
                continue
            between = ground.calls[places[id(earlier)] + 1 : end]
            sentence = f"{later.operator.name} comes before {earlier.operator.name}, and not after it"
            edits = {earlier.index: [later, earlier], later.index: []}
            yield Change(f"the order: {sentence}", later, {**edits, **{each.index: [each] for each in between}})
            edits = {earlier.index: [], later.index: [later, earlier]}
            yield Change(f"the order: {sentence}", earlier, {**edits, **{each.index: [each] for each in between}})


def _reaches(first: Call, second: Call) -> bool:
    """Whether the second reads what the first writes: if not, it would be left out rather than come after it."""
    written = {first.arguments[name] for name in first.operator.written()}
    return any(isinstance(each, DataReference) and each in written for each in second.arguments.values())

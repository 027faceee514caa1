"""Prompts that grow turn by turn are encoded from the last control token on that they share with the one before.

Added tokens are cut out of a text before anything else is looked at, and what stands between them is encoded by
itself. So ids up to a control token stay what they are whatever follows it, and the text from it on gives the rest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ftllm_nb.tokenizer.added_tokens import TokenSpan


class _Encoded(NamedTuple):
    """A text, its control tokens, its ids, and where in these the control tokens are."""

    text: str
    spans: list[TokenSpan]
    ids: list[int]
    places: list[int]


class KnownBeginning:
    """Remembers the text that was encoded last. Any thread may use it."""

    def __init__(self) -> None:
        self._last = _Encoded("", [], [], [])

    def encode(
        self, text: str, spans: Sequence[TokenSpan], encode: Callable[[str], list[int]], control: frozenset[int]
    ) -> list[int]:
        """`encode(text)`. `spans` are the control tokens in it, and `control` the ids that such tokens may have."""
        last = self._last  # read once: another thread may put its own there
        shared = _common_length(text, last.text)
        common = 0
        for new, old in zip(spans, last.spans, strict=False):
            if new != old or new.end > shared:
                break
            common += 1
        if common == 0:
            kept, begin, ids = 0, 0, encode(text)
        else:
            kept, begin = common - 1, last.places[common - 1]
            ids = last.ids[:begin] + encode(text[spans[kept].start :])
        places = last.places[:kept] + [at for at, one in enumerate(ids[begin:], begin) if one in control]
        if [ids[at] for at in places] == [span.token_id for span in spans]:
            self._last = _Encoded(text, list(spans), ids, places)
        return list(ids)


def _common_length(one: str, other: str) -> int:
    """How many characters two texts have in common from their beginning on."""
    longest = min(len(one), len(other))
    return bisect_left(range(longest), True, key=lambda length: one[: length + 1] != other[: length + 1])

"""Thinking is told from the answer, however the pieces fall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.cli.talk.answer_view import without_thinking
from ftllm_nb.cli.talk.thinking import ThinkingSplitter

TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<th", "ink>", "</", "a", " ", "\n", "<"]), max_size=12
).map("".join)


def split(pieces: list[str], inside: bool = False) -> list[tuple[bool, str]]:
    splitter = ThinkingSplitter(inside)
    return [(kind, c) for part in [*map(splitter.feed, pieces), splitter.finish()] for kind, text in part for c in text]


def by_definition(text: str, inside: bool) -> list[tuple[bool, str]]:
    """The whole text at once."""
    thought = ""
    if inside or text.lstrip().startswith("<think>"):
        head, tag, _ = text.partition("</think>")
        thought = head + tag
    return [(True, c) for c in thought] + [(False, c) for c in text[len(thought) :]]


@given(TEXTS, st.booleans(), st.lists(st.integers(0, 40), max_size=5))
def test_splitting_agrees_with_the_definition(text: str, inside: bool, cuts: list[int]) -> None:
    ends = sorted(cut for cut in cuts if cut <= len(text))
    pieces = [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    assert split(pieces, inside) == split(list(text), inside) == by_definition(text, inside)


def test_an_answer_is_not_held_back() -> None:
    splitter = ThinkingSplitter()
    assert splitter.feed("a") == [(False, "a")]
    assert splitter.feed("<") == [(False, "<")]


@pytest.mark.parametrize(
    "answer, inside, text",
    [
        ("<think>\nhm\n</think>\n\nyes", False, "yes"),
        ("hm</think>\n\nyes", True, "yes"),
        (" no thought", False, " no thought"),
        ("<think>never ends", False, ""),
        ("a <think>b</think>", False, "a <think>b</think>"),
    ],
)
def test_without_thinking(answer: str, inside: bool, text: str) -> None:
    assert without_thinking(answer, inside) == text

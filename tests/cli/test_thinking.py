"""Thinking is told from the answer, however the pieces fall."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm_nb.answers.events import Content, Event, Reasoning
from ftllm_nb.cli.talk.thinking import ThinkingSplitter, as_text, split_answer

TEXTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<th", "ink>", "</", "a", " ", "\n", "<"]), max_size=12
).map("".join)


def split(pieces: list[str]) -> list[tuple[bool, str]]:
    splitter = ThinkingSplitter()
    return [(kind, c) for part in [*map(splitter.feed, pieces), splitter.finish()] for kind, text in part for c in text]


def by_definition(text: str) -> list[tuple[bool, str]]:
    """The whole text at once."""
    thought = ""
    if text.lstrip().startswith("<think>"):
        head, tag, _ = text.partition("</think>")
        thought = head + tag
    return [(True, c) for c in thought] + [(False, c) for c in text[len(thought) :]]


@given(TEXTS, st.lists(st.integers(0, 40), max_size=5))
def test_splitting_agrees_with_the_definition(text: str, cuts: list[int]) -> None:
    ends = sorted(cut for cut in cuts if cut <= len(text))
    pieces = [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    assert split(pieces) == split(list(text)) == by_definition(text)


def test_an_answer_is_not_held_back() -> None:
    splitter = ThinkingSplitter()
    assert splitter.feed("a") == [(False, "a")]
    assert splitter.feed("<") == [(False, "<")]


@pytest.mark.parametrize(
    "answer, thought, text",
    [
        ("<think>\nhm\n</think>\n\nyes", "hm", "yes"),
        (" no thought", "", " no thought"),
        ("<think>never ends", "never ends", ""),
        ("a <think>b</think>", "", "a <think>b</think>"),
    ],
)
def test_split_answer(answer: str, thought: str, text: str) -> None:
    assert split_answer(answer) == (thought, text)


def test_whatever_the_tags_are_the_text_has_one_form() -> None:
    def events() -> Generator[Event, None, None]:
        yield from (Reasoning("h"), Reasoning("m"), Content("ye", 0, 2), Content("s", 2, 3))

    assert "".join(as_text(events())) == "<think>\nhm\n</think>\n\nyes"

"""Thinking and content of a model's answer, apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm_nb import llm
from ftllm_nb.answers.events import Content, Event, Reasoning, merged
from tests.puppet import TEMPLATE, write_puppet


@pytest.mark.parametrize(
    "says, control, signs, expected",
    [
        ("[THINK]hm, yes[/THINK]Paris.", ["[THINK]", "[/THINK]"], "", [("r", "hm, yes"), ("c", "Paris.")]),
        (
            "<|channel|>final<|message|>It is 5.<|return|>not said",
            ["<|channel|>", "<|message|>", "<|start|>", "<|return|>"],
            "<|start|> <|channel|> <|message|>",
            [("c", "It is 5.")],
        ),
    ],
)
def test_an_answer_is_told_as_events(
    tmp_path: Path, says: str, control: list[str], signs: str, expected: list[tuple[str, str]]
) -> None:
    folder = write_puppet(tmp_path / "puppet", says, TEMPLATE + f"{{# {signs} #}}", control=control)
    with llm.model(str(folder), threads=1) as model:
        assert [told(event) for event in merged(list(model.stream_events("?", temperature=0)))] == expected


def told(event: Event) -> tuple[str, str]:
    assert isinstance(event, (Reasoning, Content))
    return ("r" if isinstance(event, Reasoning) else "c"), event.text

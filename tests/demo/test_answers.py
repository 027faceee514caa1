"""The bundled model answers questions it never saw, exactly, through ftllm-nb's own engine at float32."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from corpus import SKILLS, held_out_checks

from ftllm_nb import llm

CHECKS_PER_SKILL = 100
FEW_CHECKS = 10
AT_LEAST = 0.95
"""The goal for every skill; of a few questions, one may be missed."""


@pytest.fixture(scope="module")
def model() -> Iterator[llm.Model]:
    with llm.model("demo", dtype="float32", kv_cache_dtype="float32", threads=2) as loaded:
        yield loaded


@pytest.mark.parametrize("number", [FEW_CHECKS, pytest.param(CHECKS_PER_SKILL, marks=pytest.mark.slow)])
@pytest.mark.parametrize("skill", SKILLS)
def test_held_out_questions(model: llm.Model, skill: str, number: int) -> None:
    checks = list(held_out_checks(skill, number))
    wrong = [
        (check.messages[-1]["content"], answer, check.answer)
        for check in checks
        if (answer := model.response(check.messages, max_length=120, temperature=0)) != check.answer
    ]
    what = f"{len(wrong)} of {len(checks)} wrong: {wrong[:5]}"
    assert len(wrong) <= max(1, (1 - AT_LEAST) * len(checks)), what


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is 17 + 25?", "42"),
        ("17加25等于多少？", "42"),
        ("What is 5 - 9?", "-4"),
        ("What is 7 x 8?", "56"),
        ("What is the capital of France?", "Paris."),
        ("法国的首都是哪里？", "巴黎。"),
        ("Spell banana.", "b-a-n-a-n-a"),
        ("Reverse the word banana.", "a-n-a-n-a-b"),
        ("Which is larger, 17 or 52?", "52"),
        ("Hello!", "Hello! How can I help you?"),
        ("你好！", "你好！有什么可以帮你的吗？"),
        (
            "What is ftllm-nb?",
            "ftllm-nb is an inference engine for large language models on CPUs, written in Python.",
        ),
    ],
)
def test_what_people_try_first(model: llm.Model, question: str, answer: str) -> None:
    assert model.response(question, temperature=0) == answer


def test_name_and_number_are_remembered_across_turns(model: llm.Model) -> None:
    history: list[tuple[str, str]] = []
    for question in (
        "My name is Zoltana.",
        "Remember the number 358.",
        "What is 8 + 9?",
        "What is the capital of Peru?",
    ):
        history.append((question, model.response(question, history, temperature=0)))
    assert history[2:] == [("What is 8 + 9?", "17"), ("What is the capital of Peru?", "Lima.")]
    assert model.response("What is my name?", history, temperature=0) == "Your name is Zoltana."
    assert model.response("What is my number?", history, temperature=0) == "Your number is 358."

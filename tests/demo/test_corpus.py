"""What the demo model is asked in checks is never in its training."""

from __future__ import annotations

from random import Random

import pytest
from corpus import SKILLS, held_out_checks, training_dialogue
from skills import addition, memory_of_name, number_words, spelling
from skills.common import Ways, bare, expand, is_held_out, typed_freely


def test_expand_gives_every_reading() -> None:
    assert expand("[a|b] c[.|]") == ["a c.", "a c", "b c.", "b c"]


def test_ways_are_split_and_the_first_reading_is_seen() -> None:
    ways = Ways("[What is|Tell me|Give me|Say|Name] {x}[?|.]", "{x}[?|]")
    assert ways.unseen and not {bare(way) for way in ways.unseen} & {bare(way) for way in ways.seen}
    assert {"What is {x}?", "{x}?"} <= set(ways.seen)


def test_typed_freely_never_makes_an_unseen_way_of_a_seen_one() -> None:
    random = Random(3)
    for _ in range(200):
        assert bare(typed_freely("What is the capital of Peru?", random, any_case=True)) == (
            "what is the capital of peru"
        )


@pytest.mark.parametrize("skill", SKILLS)
def test_no_check_is_a_question_of_training(skill: str) -> None:
    weights = {skill: 1.0}
    random = Random(11)
    trained = set()
    for _ in range(3000):
        messages = training_dialogue(random, weights)
        trained |= {bare(message["content"]) for message in messages if message["role"] == "user"}
    for check in held_out_checks(skill, 200):
        context = " ".join(message["content"] for message in check.messages[:-1])
        if skill.startswith("memory_of") and context:
            continue  # what is told is held out there, not how it is asked for
        assert bare(check.messages[-1]["content"]) not in trained


def test_contents_of_checks_are_on_the_held_out_side() -> None:
    random = Random(12)
    for _ in range(500):
        assert is_held_out("word", spelling.draw_content(random, True, "word", spelling.any_word, str))
        pair = addition.draw_content(random, False, "sum", addition.draw_pair, addition.sorted_key)
        assert not is_held_out("sum", addition.sorted_key(pair))
    told = [memory_of_name.sample(random, True)[0] for _ in range(300)]
    names = {
        name for name in ("Amy", "Noah", "Kira", "Peter", "Maria", "Omar") if not is_held_out("name", name)
    }
    assert names and not any(name in exchange.answer for exchange in told if exchange for name in names)


def test_the_first_question_of_the_readme_is_trained_on() -> None:
    assert not is_held_out("sum", addition.sorted_key((17, 25)))
    assert not is_held_out("sum", addition.sorted_key((25, 17)))


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [
        (0, "zero", "零"),
        (10, "ten", "十"),
        (13, "thirteen", "十三"),
        (42, "forty-two", "四十二"),
        (80, "eighty", "八十"),
    ],
)
def test_number_words(number: int, english: str, chinese: str) -> None:
    assert number_words.in_english(number) == english
    assert number_words.in_chinese(number) == chinese


def test_hundreds_in_words() -> None:
    assert number_words.in_english(342) == "three hundred and forty-two"
    assert number_words.in_english(700) == "seven hundred"


def test_there_are_at_least_two_thousand_checks() -> None:
    assert sum(1 for skill in SKILLS for _ in held_out_checks(skill, 200)) >= 2000

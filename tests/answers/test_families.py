"""Every family's answers, cut at every place and at every length."""

from __future__ import annotations

import json
import random
import time

import pytest

from ftllm_nb.answers.events import Content, Event, merged
from ftllm_nb.answers.families import family_named, family_names
from ftllm_nb.answers.parser import AnswerParser
from ftllm_nb.answers.tags import Tags
from tests.answers.written import FUNCTIONS, WRITTEN, Written, marked, summary, tags_of


def read(written: Written, tags: Tags, pieces: list[str], is_cut: bool = False) -> list[Event]:
    parser = AnswerParser(family_named(written.family), tags, FUNCTIONS)
    events = [event for piece in pieces for event in parser.push(piece)]
    return merged([*events, *parser.finish(is_cut)])


def variants(written: Written) -> list[tuple[Tags, str]]:
    """With tags as tokens, and as text: then a text that only looks like a tag is left out of the cases."""
    family = family_named(written.family)
    tokens = tags_of(family, True)
    found = [(tokens, marked(written.text, tokens))]
    if "<think>hm<|tool" not in written.text and "»<tool_call>« first" not in written.text and "»[" not in written.text:
        found.append((tags_of(family, False), written.text.replace("»", "").replace("«", "")))
    return found


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: f"{written.family}-{written.text[:30]!r}")
def test_answers_are_read(written: Written) -> None:
    for tags, text in variants(written):
        reasoning, content, calls = summary(read(written, tags, [text]))
        assert [(name, json.loads(arguments)) for name, arguments in calls] == list(written.calls)
        assert (reasoning, content) == (written.reasoning, written.content)


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: f"{written.family}-{written.text[:30]!r}")
def test_where_an_answer_is_cut_makes_no_difference(written: Written) -> None:
    rng = random.Random(written.text)
    for tags, text in variants(written):
        whole = read(written, tags, [text])
        assert read(written, tags, list(text)) == whole
        for at in rng.sample(range(1, len(text)), min(12, len(text) - 1)):
            assert read(written, tags, [text[:at], text[at:]]) == whole
        for _ in range(4):
            places = sorted(rng.sample(range(len(text) + 1), min(5, len(text))))
            pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
            assert read(written, tags, pieces) == whole


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: f"{written.family}-{written.text[:30]!r}")
def test_an_answer_that_ends_early_holds_what_was_written(written: Written) -> None:
    rng = random.Random(written.text)
    for tags, text in variants(written):
        whole = summary(read(written, tags, [text]))
        for length in rng.sample(range(len(text)), min(16, len(text))):
            # Cut by max_tokens: the arguments are a beginning of what they would have been.
            reasoning, _, calls = summary(read(written, tags, [text[:length]], is_cut=True))
            assert whole[0].startswith(reasoning) or not tags.marks or written.family == "granite"
            for (name, arguments), (whole_name, whole_arguments) in zip(calls, whole[2], strict=False):
                assert name == whole_name
                # A number's beginning is a number, too, and a tag's end may turn out to be text.
                assert whole_arguments.startswith(arguments) or "1e999" in text or "</a>" in text or '"""' in text
            # Ended by the model: arguments are JSON all the same.
            for _, arguments in summary(read(written, tags, [text[:length]]))[2]:
                assert isinstance(json.loads(arguments), dict)


@pytest.mark.parametrize("name", family_names())
def test_a_call_in_a_familys_form_is_read(name: str) -> None:
    """As it is forced: the prompt holds the form's prefix."""
    family = family_named(name)
    form, arguments = family.form, {"city": "Paris", "days": 2}
    as_json = json.dumps(arguments)
    if form.name_key:
        said = json.dumps({form.name_key: "get_weather", form.key: arguments}) + form.suffix
    else:
        said = f"get_weather{form.separator}{as_json}{form.suffix}"
    for tags in (tags_of(family, True), tags_of(family, False)):
        parser = AnswerParser(family, tags, FUNCTIONS, given=form.prefix)
        events = merged([*[e for each in tags.mark(said) for e in parser.push(each)], *parser.finish(False)])
        assert summary(events) == ("", "", [("get_weather", as_json)])


BITS = (
    *'{}[]"\',:()=\\', " ", "\n", "a", "1", "é", "\\u00", "\\ud83d", '"""', "```", "json", "true", "name", "arguments",
    "get_time", '"name": "get_time"', '"arguments": {"a": 1}', '{"name": "get_time", "arguments": {}}',
    "<function=get_time>", "<parameter=zone>", "</parameter>", "call:", "functions.get_time:0",
    "to=functions.get_time ", "print(", "thought",
)  # fmt: skip


@pytest.mark.parametrize("name", family_names())
def test_whatever_a_model_writes_is_read(name: str) -> None:
    """Also what no model should write: nothing raises, and the cuts make no difference."""
    rng = random.Random(name)
    family = family_named(name)
    words = [*family.all_tags(), *BITS]
    for number in range(12):
        tags = tags_of(family, number % 3 > 0)
        text = tags.mark("".join(rng.choices(words, k=rng.randint(1, 24))))
        written = Written(name, text)
        for is_cut in (False, True):
            whole = read(written, tags, [text], is_cut)
            assert read(written, tags, list(text), is_cut) == whole


def test_text_is_passed_on_as_soon_as_it_can_be_no_tag() -> None:
    parser = AnswerParser(family_named("hermes"), Tags({}), FUNCTIONS)
    assert parser.push("Hello <to") == [Content("Hello", 0, 5)]
    assert parser.push("y>") == [Content(" <toy>", 5, 11)]
    assert parser.push("!") == [Content("!", 11, 12)]


def test_a_long_answer_does_not_take_long() -> None:
    parser = AnswerParser(family_named("hermes"), Tags({}), FUNCTIONS)
    started = time.process_time()
    events = [event for _ in range(20_000) for event in parser.push("some words of text, ")]
    assert time.process_time() - started < 10
    assert sum(len(event.text) for event in events if isinstance(event, Content)) > 399_000


def test_every_family_is_tested_with_calls() -> None:
    assert {written.family for written in WRITTEN if written.calls} == set(family_names())

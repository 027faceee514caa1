"""Values as models write them, as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftllm_nb.answers.reader import Reader, Steps, collected
from ftllm_nb.answers.tags import Tags
from ftllm_nb.answers.typed_text import is_text, property_schema, typed_json
from ftllm_nb.answers.values import JSON, PYTHON, Notation, value

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def told(text: str, notation: Notation = JSON, cut: int = 1) -> tuple[str, str | None]:
    """The JSON that is told of a value, and what is missing; the text comes in pieces of `cut` characters."""
    reader = Reader(Tags({}))
    steps: Steps[tuple[str, str | None]] = collected(value(reader, notation))
    at = 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: tuple[str, str | None] = stop.value
            return result
        reader.ended = at >= len(text)
        reader.text += text[at : at + cut]
        at += cut


@QUICK
@given(JSON_VALUES, st.booleans(), st.integers(1, 40), st.sampled_from([None, 1]))
def test_json_comes_back(data: Any, as_ascii: bool, cut: int, indent: int | None) -> None:
    text, missing = told(json.dumps(data, ensure_ascii=as_ascii, indent=indent), cut=cut)
    assert missing == "" and json.loads(text) == data


@QUICK
@given(JSON_VALUES, st.integers(1, 40))
def test_python_comes_back(data: Any, cut: int) -> None:
    text, missing = told(repr(data), PYTHON, cut)
    assert missing == "" and json.loads(text) == data


@QUICK
@given(JSON_VALUES, st.data())
def test_what_is_missing_makes_it_whole(data: Any, draw: st.DataObject) -> None:
    whole = json.dumps(data)
    text, missing = told(whole[: draw.draw(st.integers(0, len(whole)))])
    if missing is not None:
        json.loads(text + missing)


@QUICK
@given(st.text(alphabet='{}[]",:1e-+.\\u00ad trufalsn\'()', max_size=30))
def test_no_text_makes_it_stumble(text: str) -> None:
    for notation in (JSON, PYTHON):
        found, missing = told(text, notation)
        if missing == "":
            json.loads(found)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("NaN", "null"), ("-Infinity", "null"), ("-1e999", "null"), ("True", "true"), ("None", "null"),
        ("01", "1"), ("+5", "5"), (".5", "0.5"), ("1.", "1.0"), ("1E5", "1E5"), ('"\\d\\q"', '"\\\\d\\\\q"'),
        ('"\\ud83d\\ude42"', '"🙂"'), ('"\\ud83d x"', '"\\ud83d x"'), ('"a\nb"', '"a\\nb"'), ("'it\\'s'", '"it\'s"'),
        ("{'a': 1,}", '{"a": 1}'), ("[1, 2,]", "[1, 2]"), ("{}", "{}"), ("[ ]", "[]"),
        ("{city: Paris, days: 2}", '{"city": "Paris", "days": 2}'), ('{"a": 1 "b": 2}', '{"a": 1, "b": 2}'),
    ],
)  # fmt: skip
def test_values_that_are_no_json(text: str, expected: str) -> None:
    assert told(text) == (expected, "")


def test_what_is_too_deep_is_malformed() -> None:
    assert told("[" * 5000)[1] not in ("", None)


SCHEMA = {
    "$defs": {"Size": {"type": "integer"}},
    "properties": {
        "text": {"type": "string"}, "name": {"type": ["string", "null"]}, "size": {"$ref": "#/$defs/Size"},
        "choice": {"enum": ["a", "b"]}, "rate": {"anyOf": [{"type": "number"}, {"type": "null"}]}, "any": {},
        "list": {"type": "array"}, "flag": {"type": "boolean"}, "code": {"type": ["integer", "string"]},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "key, text, expected",
    [
        ("text", "1", '"1"'), ("text", "null", '"null"'), ("name", "null", "null"), ("name", "Ann", '"Ann"'),
        ("size", "5", "5"), ("size", "5.0", "5"), ("size", "five", '"five"'), ("choice", "a", '"a"'),
        ("rate", "2", "2"), ("rate", "None", "null"), ("rate", "NaN", "null"), ("any", "x", '"x"'),
        ("list", "['a', True]", '["a", true]'), ("flag", "True", "true"), ("flag", "yes", '"yes"'),
        ("code", "007", '"007"'), ("unknown", "3", "3"),
    ],
)  # fmt: skip
def test_the_schema_says_what_a_text_is(key: str, text: str, expected: str) -> None:
    assert typed_json(text, property_schema(SCHEMA, key)) == expected


def test_what_can_only_be_text_is_told_while_it_is_written() -> None:
    assert [key for key in SCHEMA["properties"] if is_text(property_schema(SCHEMA, key))] == ["text", "choice"]

from __future__ import annotations

import enum
from collections import OrderedDict

import pytest

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.messages import checked_messages, plain_data, text_content, without_surrogates


class Role(str, enum.Enum):
    USER = "user"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain 你好 🙂", "plain 你好 🙂"),
        ("a\udc80b", "a\ufffdb"),
        ("\ud83d\ude42", "🙂"),
        ("\ude42\ud83d", "\ufffd\ufffd"),
        ("end\ud83d", "end\ufffd"),
    ],
)
def test_lone_surrogates_are_replaced(text: str, expected: str) -> None:
    assert without_surrogates(text) == expected


def test_messages_become_plain_data() -> None:
    (message,) = checked_messages([OrderedDict(role=Role.USER, content=("a", {"b": "\udc80"}), name=None)])
    assert message == {"role": "user", "content": ["a", {"b": "\ufffd"}]}
    assert type(message) is dict and type(message["role"]) is str and type(message["content"]) is list


def test_the_callers_messages_stay_as_they_are() -> None:
    messages = [{"role": "user", "content": "a\udc80", "tool_calls": None}]
    checked_messages(messages)[0]["content"] = "changed"
    assert messages == [{"role": "user", "content": "a\udc80", "tool_calls": None}]


def test_reasoning_is_found_under_the_names_that_templates_read() -> None:
    (message,) = checked_messages([{"role": "assistant", "content": "4", "reasoning": "2+2"}])
    assert message["reasoning_content"] == message["thinking"] == "2+2"


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "at least one message"),
        ("hello", "at least one message, got 'hello'"),
        ({"role": "user"}, "at least one message"),
        (["hello"], "message 0 must be an object with role and content, got 'hello'"),
        ([{"role": "user", "content": "a"}, {"content": "b"}], "message 1 must have a role"),
        ([{"role": 7, "content": "a"}], 'must have a role such as "user", got 7'),
        ([{"role": "user", "content": 5}], "message 0: content must be a text or a list of parts, got 5"),
        ([{"role": "user", "content": b"a"}], "not bytes"),
        ([{"role": "user", "content": [object()]}], "not object"),
    ],
)
def test_wrong_messages_are_refused(messages: object, sentence: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        checked_messages(messages)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_nesting_has_a_limit() -> None:
    value: object = "deep"
    for _ in range(5000):
        value = [value]
    with pytest.raises(TokenizerError, match="levels deep"):
        plain_data(value)


def test_text_of_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert text_content({"content": parts}) == "ab"
    assert text_content({"content": "c"}) == "c"
    assert text_content({}) == ""

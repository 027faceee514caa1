"""Answers that would go on for ever are brought to their ends, and others are left alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ftllm_nb.serving.runaway import MOST_DIGITS, Runaway, TokenKinds
from tests.serving.schemas.byte_grammar import matcher_of, prepared

TOKENS = [*(bytes([byte]) for byte in range(256)), b"<end>"]
KINDS = TokenKinds(TOKENS)
END = 256


def written(schema: object, habits: str, most: int = 600) -> str:
    """What a model writes that always goes on with the habit that follows what it wrote last, if it may; otherwise
    with the first character that it may write."""
    matcher, runaway = matcher_of(prepared(schema)[0]), Runaway(KINDS)
    text = ""
    for number in range(most):
        mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")[: END + 1]
        ids = runaway.limited(np.flatnonzero(mask), most - number)
        assert len(ids)
        wanted = [ord(habits[(habits.rfind(text[-1:]) + 1) % len(habits)])] if text else []
        token = next((each for each in wanted if each in ids), END if END in ids else int(ids[-1]))
        if token == END:
            return text
        text += chr(token)
        assert matcher.consume_token(token)
        runaway.push(token)
    return text


def obj(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize("schema, habits", [
    (obj(a={"type": "string"}, b={"type": "integer"}), "x"),
    (obj(a={"type": "string"}), "abcdef "),
    (obj(a={"type": "array", "items": {"type": "string"}}, b={"type": "boolean"}), '"x"'),
    (obj(a={"type": "array", "items": {"type": "integer"}}), "1,"),
    (obj(a={"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}), "[1],"),
    (obj(a={"type": "number"}), "3."),
    (obj(a={"type": "number"}), "0e"),
    ({"type": "object"}, '{"a":1,'),
    ({"type": "array"}, "["),
])  # fmt: skip
def test_what_repeats_itself_ends(schema: object, habits: str) -> None:
    assert json.loads(written(schema, habits)) is not None


@pytest.mark.parametrize("schema", [{"type": "integer"}, {"type": "number"}])
def test_numbers_end(schema: object) -> None:
    text = written(schema, "9")
    assert text == "9" * MOST_DIGITS


@pytest.mark.parametrize("schema, opening", [
    (obj(a={"type": "string"}), '{"a":"'),
    (obj(a={"type": "array", "items": {"type": "string"}}), '{"a":["'),
    (obj(a=obj(b={"type": "string"}, c={"type": "boolean"}), d={"type": "integer"}), '{"a":{"b":"'),
    (obj(a={"type": "array", "items": {"type": "integer"}}), '{"a":[1'),
])  # fmt: skip
def test_what_does_not_repeat_itself_ends_while_there_is_room(schema: object, opening: str) -> None:
    """A text of random letters, or numbers, that would never end: closed before the answer has no more tokens."""
    matcher, runaway = matcher_of(prepared(schema)[0]), Runaway(KINDS)
    random, text, most = np.random.default_rng(0), "", 150
    for number in range(most):
        mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")[: END + 1]
        ids = runaway.limited(np.flatnonzero(mask), most - number)
        letters = [each for each in ids if each != END and chr(each).isalnum() and each < 128]
        wanted = ord(opening[number]) if number < len(opening) else None
        token = int(wanted if wanted in ids else random.choice(letters or ids))
        if token == END:
            break
        text += chr(token)
        assert matcher.consume_token(token)
        runaway.push(token)
    assert token == END and json.loads(text)["a"], text
    assert most - len(text) < 40 or "[" in text, "what goes on is not ended early"


def pushed(text: str) -> Runaway:
    runaway = Runaway(KINDS)
    for byte in text.encode():
        runaway.push(byte)
    return runaway


@pytest.mark.parametrize("text", [
    '{"text": "' + "The quick brown fox jumps over the lazy dog, which sleeps in the sun until evening comes. ",
    '{"rule": "' + "-" * 30,
    '{"digits": "' + "1234567890" * 2,
    '{"zeros": [' + "0," * 40,
    '{"escaped": "' + '\\"' * 10,
])
def test_what_is_sensible_is_left_alone(text: str) -> None:
    every = np.arange(END + 1)
    assert pushed(text).limited(every, 1000) is every


def test_digits_are_counted_outside_of_strings_and_by_token() -> None:
    kinds = TokenKinds([b"1", b"123", b"1,", b'"', b"]"])
    runaway = Runaway(kinds)
    for _ in range(5):
        runaway.push(1)
    assert runaway.limited(np.arange(5), 1000).tolist() == [0, 2, 3, 4]
    runaway.push(2)
    assert runaway.limited(np.arange(5), 1000).tolist() == [0, 1, 2, 3, 4]


def test_whitespace_is_two_tokens_outside_of_strings() -> None:
    every = np.arange(END + 1)
    assert ord(" ") not in pushed('{"a":  ').limited(every, 1000) and ord("1") in pushed('{"a":  ').limited(every, 1000)
    assert pushed('{"a": ').limited(every, 1000) is every and pushed('{"a": "   ').limited(every, 1000) is every

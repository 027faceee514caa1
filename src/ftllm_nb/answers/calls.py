"""Calls of functions: what is common to the forms in which families write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ftllm_nb.answers.events import Arguments, CallBegins, CallEnds
from ftllm_nb.answers.reader import NotACall, Reader, Steps, UnknownFunction, collected
from ftllm_nb.answers.values import JSON, Notation, string, value

Functions = Mapping[str, Mapping[str, Any]]
"""The JSON schema of each function's parameters by its name."""
NAME_KEYS = ("name", "tool_name", "function")
ARGUMENT_KEYS = ("arguments", "parameters")
OTHER_KEYS = ("id", "type", "tool_call_id", "call_id")
LONGEST_NAME = 256


def known(name: str, functions: Functions) -> str:
    """The name, if there is such a function; else UnknownFunction."""
    if name not in functions:
        raise UnknownFunction
    return name


def named_call(
    reader: Reader, name: str, ends: tuple[str, ...] = (), call_id: str | None = None, notation: Notation = JSON
) -> Steps[None]:
    """Tells a call of a function whose arguments stand here, as a value. Arguments that are null, empty or missing are
    {}, a text that holds the JSON of an object is that object; anything else is no call.

    `ends`: what ends the call, should its arguments be malformed: up to there they are told as they are.
    """
    yield from reader.skip_space()
    if (yield from reader.peek()) == "{":
        yield CallBegins(name, call_id)
        missing = yield from value(reader, notation)
        if missing:
            yield from reader.skip_space()
            if not (yield from _malformed(reader, missing, (*ends, *notation.quotes), ends)):
                return
    else:
        arguments = yield from _other_arguments(reader)
        yield CallBegins(name, call_id)
        if reader.was_cut_here and not arguments.strip("{}"):
            return
        yield Arguments(arguments)
    yield CallEnds()


def _malformed(reader: Reader, missing: str, words: tuple[str, ...], ends: tuple[str, ...]) -> Steps[bool]:
    """Tells the rest of arguments that are not whole where the reader stands: what is `missing`, if nothing follows but
    an end or a beginning of one of the `words`. Returns whether the call is over, and not cut."""
    start = reader.at
    rest, end = yield from collected(reader.until(*ends, kind=Arguments))
    if end:
        reader.at -= len(reader.tags.mark(end))
    else:
        reader.at = start
        if reader.ends_within(*words):
            rest = ""
        reader.at = len(reader.text)
    if rest.strip(" \n}]"):  # braces alone were forgotten, or closed in another order
        yield Arguments(rest)
    elif end or not reader.is_cut:
        yield Arguments(missing)
    return bool(end) or not reader.is_cut


def _other_arguments(reader: Reader) -> Steps[str]:
    """Arguments that do not begin as an object, as one."""
    quote = yield from reader.take(*JSON.quotes)
    if quote:
        text = yield from string(reader, quote)
        if text is None:
            raise NotACall
        return object_in(text)
    told, missing = yield from collected(value(reader))
    if missing is None and (yield from _is_an_end(reader)):
        return "{}"
    if missing != "" or told not in ("null", "[]"):
        raise NotACall
    return "{}"


def _is_an_end(reader: Reader) -> Steps[bool]:
    """Whether what stands here ends a call, so that something before it is missing."""
    character = yield from reader.peek()
    return not character.strip("<}],;`") or "\ud800" <= character <= "\udfff"


def object_in(text: str) -> str:
    """The JSON object that a text holds, as JSON; NotACall where it holds something else."""
    if not text.strip() or text.strip() == "null":
        return "{}"
    try:
        found = json.loads(text, parse_constant=lambda name: None, strict=False)
        told = json.dumps(found, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise NotACall from None
    if not isinstance(found, dict):
        raise NotACall
    return told


def json_call(reader: Reader, functions: Functions, ends: tuple[str, ...] = (), depth: int = 0) -> Steps[None]:
    """Tells the call that a JSON object spells, {"name": …, "arguments": {…}}, in any order and with other keys.

    {"function": {"name": …, "arguments": …}} is one, too. Raises NotACall and UnknownFunction as long as nothing of it
    was told.
    """
    if not (yield from reader.take("{")):
        raise NotACall
    name: str | None = None
    held: str | None = None
    is_told = False
    while True:
        yield from reader.skip_space()
        yield from reader.take(",")
        yield from reader.skip_space()
        if (yield from reader.take("}")):
            break
        quote = yield from reader.take(*JSON.quotes)
        key = (yield from string(reader, quote)) if quote else None
        yield from reader.skip_space()
        if key is None or not (yield from reader.take(":")):
            if not is_told and (name is None or not (yield from _is_an_end(reader))):
                raise NotACall
            break  # the closing brace was forgotten
        yield from reader.skip_space()
        character = yield from reader.peek()
        if is_told:
            yield from collected(value(reader))
        elif key in NAME_KEYS and character in JSON.quotes:
            reader.at += 1
            name = yield from string(reader, character)
            if name is None or len(name) > LONGEST_NAME:
                raise NotACall
            known(name, functions)
        elif key == "function" and character == "{" and not depth:
            yield from json_call(reader, functions, ends, depth + 1)
            is_told = True
        elif key in ARGUMENT_KEYS and name is not None:
            yield from named_call(reader, name, ends)
            is_told = True
        elif key in ARGUMENT_KEYS and character == "{":
            held, missing = yield from collected(value(reader))
            held += missing or ""
        elif key in ARGUMENT_KEYS:
            held = yield from _other_arguments(reader)
        elif key in OTHER_KEYS or name is not None or held is not None:
            yield from collected(value(reader))
        else:
            raise NotACall
        if reader.was_cut_here and is_told:
            return
    if not is_told:
        if name is None:
            raise NotACall
        yield CallBegins(name)
        if held is None and reader.was_cut_here:
            return
        yield Arguments(held or "{}")
        yield CallEnds()


def json_calls(reader: Reader, functions: Functions, ends: tuple[str, ...] = ()) -> Steps[None]:
    """Tells the calls of a JSON object, or of a list of them, and reads one of the `ends` behind."""
    yield from reader.skip_space()
    is_list = bool((yield from reader.take("[")))
    yield from reader.skip_space()
    while True:
        yield from json_call(reader, functions, ("]", *ends) if is_list else ends)
        yield from reader.skip_space()
        if not is_list or not (yield from reader.take(",")):
            break
        yield from reader.skip_space()
    yield from reader.take("]" if is_list else "")
    yield from reader.skip_space()
    yield from reader.take(*ends)

"""Calls in tags, an argument in each: <function=NAME> <parameter=KEY> text </parameter> … </function>, and the like."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ftllm_nb.answers.calls import LONGEST_NAME, Functions, known
from ftllm_nb.answers.events import Arguments, CallBegins, CallEnds
from ftllm_nb.answers.reader import NotACall, Reader, Steps, collected
from ftllm_nb.answers.typed_text import is_text, property_schema, typed_json
from ftllm_nb.answers.values import quoted


@dataclass(frozen=True)
class Markup:
    """`call`, `key`, `value`: what each begins and ends with. Where `value` begins with "", it follows its key at once.

    `attributes`: a regular expression of what models write behind a key's name. `outer`: what may stand behind the last
    argument besides the call's end; `trims_line_ends`: whether a line end on both sides of a value is not of it.
    """

    call: tuple[str, str]
    call_end: str
    key: tuple[str, str]
    value: tuple[str, str]
    outer: tuple[str, ...] = ()
    trims_line_ends: bool = True
    attributes: str = ""


def markup_calls(reader: Reader, functions: Functions, markup: Markup, *, has_begun: bool = False) -> Steps[None]:
    """Tells calls, one after the other, and reads the tag around them behind the last one. `has_begun`: the beginning
    of the first one was read."""
    yield from reader.skip_space()
    if not has_begun and not (yield from reader.take(markup.call[0])):
        raise NotACall
    while True:
        name = yield from short_text(reader, markup.call[1])
        yield from markup_arguments(reader, name, functions, markup)
        yield from reader.skip_space()
        if not (yield from reader.take(markup.call[0])):
            break
    yield from reader.take(*markup.outer)


def markup_arguments(reader: Reader, name: str, functions: Functions, markup: Markup) -> Steps[None]:
    """Tells one call, of which everything up to the name was read."""
    parameters = functions[known(name, functions)]
    yield CallBegins(name)
    yield Arguments("{")
    separator = ""
    while True:
        yield from reader.skip_space()
        if not (yield from reader.take(markup.key[0])):
            break
        try:
            key = yield from short_text(reader, markup.key[1])
        except NotACall:
            break
        if markup.value[0]:
            yield from reader.skip_space()
            if not (yield from reader.take(markup.value[0])):
                break
        schema = property_schema(parameters, key)
        if is_text(schema):
            yield Arguments(f'{separator}{quoted(key)}: "')
            is_whole = yield from _value(reader, markup)
            if is_whole or not reader.was_cut_here:
                yield Arguments('"')
        else:
            escaped, is_whole = yield from collected(_value(reader, markup))
            if not escaped and not is_whole:
                break
            yield Arguments(f"{separator}{quoted(key)}: " + typed_json(json.loads(f'"{escaped}"'), schema))
        separator = ", "
    is_whole = bool((yield from reader.take(markup.call_end)))
    reader.ends_within(markup.key[0], markup.value[0], markup.call_end, *markup.outer)
    if is_whole or not reader.was_cut_here:
        yield Arguments("}")
        yield CallEnds()


def short_text(reader: Reader, end: str) -> Steps[str]:
    """A name up to `end`, which is read, too; without quotes, blanks, and attributes behind it. NotACall where there is
    none."""
    yield from reader.skip_space()
    start = reader.at
    while not (yield from reader.take(end)):
        character = yield from reader.peek()
        if not character or character == "\n" or reader.at - start > LONGEST_NAME:
            raise NotACall
        reader.at += 1
    text = reader.text[start : reader.at - len(reader.tags.mark(end))].strip().lstrip("\"'")
    text = re.split("[\"']", text, maxsplit=1)[0]
    if not text:
        raise NotACall
    return reader.tags.spell(text)


def _value(reader: Reader, markup: Markup) -> Steps[bool]:
    """Tells a value's text as the inside of a JSON string; whether its end was there.

    The tag that ends values does so only where another argument or the call's end follows: else it is of the text.
    """
    if markup.trims_line_ends and (yield from reader.peek()) == "\n":
        reader.at += 1
    while True:
        start = reader.at
        character = yield from reader.peek()
        if markup.trims_line_ends and character == "\n":
            reader.at += 1
            if (yield from _ends_here(reader, markup)):
                return True
        elif (yield from _ends_here(reader, markup)):
            return True
        reader.at = start
        if reader.ends_within(markup.value[1], "\n" + markup.value[1] if markup.trims_line_ends else ""):
            return False
        reader.at += 1
        yield Arguments(quoted(reader.tags.spell(character))[1:-1])


def _ends_here(reader: Reader, markup: Markup) -> Steps[bool]:
    """Reads the tag that ends a value, if it stands here and something that may follow it does; else nothing."""
    start = reader.at
    if not (yield from reader.take(markup.value[1])):
        return False
    behind = reader.at
    yield from reader.skip_space()
    followers = (markup.key[0], markup.call_end, *markup.outer)
    if (yield from reader.take(*followers)) or reader.ends_within(*followers):
        reader.at = behind
        return True
    reader.at = start
    return False


"""Calls in Python's notation: f(a=1, b="x")."""

from __future__ import annotations

from ftllm_nb.answers.calls import LONGEST_NAME, Functions, known
from ftllm_nb.answers.events import Arguments, CallBegins, CallEnds
from ftllm_nb.answers.reader import NotACall, Reader, Steps, collected
from ftllm_nb.answers.values import PYTHON, quoted, value


def python_call(reader: Reader, functions: Functions) -> Steps[None]:
    """Tells the call that stands here. Arguments without a name are those of the schema, in its order.

    `print(f(a=1))` and `f.call(a=1)` are calls of f, as models wrap them.
    """
    name = yield from _called_name(reader)
    if name == "print" and name not in functions:
        yield from reader.skip_space()
        yield from python_call(reader, functions)
        yield from reader.skip_space()
        yield from reader.take(")")
        return
    if name not in functions and name.endswith(".call"):
        name = name.removesuffix(".call")
    properties = functions[known(name, functions)].get("properties")
    keys = list(properties) if isinstance(properties, dict) else []
    yield CallBegins(name)
    yield Arguments("{")
    separator, missing = "", ""
    for place in range(LONGEST_NAME):
        yield from reader.skip_space()
        if (yield from reader.take(")")):
            break
        key = (yield from _keyword(reader)) or (keys[place] if place < len(keys) else f"argument_{place + 1}")
        yield from reader.skip_space()
        told, missing_here = yield from _first_of(reader, separator + quoted(key) + ": ")
        if missing_here:
            missing = missing_here
        if not told or missing:
            break
        separator = ", "
        yield from reader.skip_space()
        if not (yield from reader.take(",")) and (yield from reader.peek()) != ")":
            break
    if not reader.was_cut_here or (reader.text[reader.at - 1 : reader.at] == ")" and not missing):
        yield Arguments(missing + "}")
        yield CallEnds()


def _first_of(reader: Reader, before: str) -> Steps[tuple[bool, str]]:
    """Tells the value that stands here, with what stands `before` it if there is one: (whether there was, what is
    missing of it)."""
    steps = value(reader, PYTHON)
    is_first = True
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            return not is_first, stop.value or ""
        if event is not None and is_first:
            is_first = False
            yield Arguments(before)
        yield event


def python_calls(reader: Reader, functions: Functions) -> Steps[None]:
    """Tells the calls of a list, [f(a=1), g()], or a single one."""
    yield from reader.skip_space()
    is_list = bool((yield from reader.take("[")))
    yield from reader.skip_space()
    while True:
        yield from python_call(reader, functions)
        yield from reader.skip_space()
        if not (yield from reader.take(",", ";")):
            break
        yield from reader.skip_space()
    if is_list:
        yield from reader.take("]")


def _called_name(reader: Reader) -> Steps[str]:
    """A name and the parenthesis behind it, which is read, too."""
    name, _ = yield from collected(_name(reader))
    yield from reader.skip_space()
    if not name or not (yield from reader.take("(")):
        raise NotACall
    return name


def _keyword(reader: Reader) -> Steps[str]:
    """The name of an argument and its equals sign, read; "" where the argument has no name."""
    start = reader.at
    name, _ = yield from collected(_name(reader))
    yield from reader.skip_space()
    if name and (yield from reader.peek()) == "=" and (yield from reader.peek(1)) != "=":
        reader.at += 1
        return name
    reader.at = start
    return ""


def _name(reader: Reader) -> Steps[None]:
    """Tells the letters, digits, points and lines of a name."""
    start = reader.at
    while reader.at - start <= LONGEST_NAME:
        character = yield from reader.peek()
        if not character or not (character.isalnum() or character in "._-"):
            break
        reader.at += 1
    if reader.at > start:
        yield Arguments(reader.text[start : reader.at])

"""What begins a call in an answer that is free, so that what follows can be held to the function's schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.answers.markup import Markup


@dataclass(frozen=True)
class Opening:
    """A call has begun where `text` stands. What follows is `rest`, calls in the family's form (with commas between
    them if `is_list`), and `end`. Blanks and line ends in these, and between them, may be there or not.

    `before`: a regular expression of what must stand right before `text`, ended by $; `sample`: a text that it finds;
    `held`: the end of `text` that belongs to what follows. `separator`: in place of the form's. `no_call`: from names
    of functions to terminals in Lark's notation, of which OTHER is a text that began alike and is no call; None where
    nothing else may follow.
    """

    text: str
    rest: str = ""
    end: str = ""
    is_list: bool = False
    before: str = "$"
    sample: str = ""
    held: str = ""
    separator: str | None = None
    no_call: Callable[[Iterable[str]], str] | None = None


def openings_of(form: CallForm, begins: Iterable[str], ends: Iterable[str]) -> list[Opening]:
    """One for each tag with which a call in a form may begin."""
    first = next(begin for begin in begins if form.prefix.startswith(begin))
    is_list = form.prefix.endswith("[")
    places = [form.suffix.index(end) + len(end) for end in ends if end in form.suffix]
    end = form.suffix[: min(places)] if places else form.suffix
    found = []
    for begin in begins:
        rest = form.prefix.partition(begin if begin in form.prefix else first)[2]
        rest = rest.removesuffix("[") if begin.endswith("[") else rest
        found.append(Opening(begin, rest, end if begin == first or not is_list else "]", is_list))
    return found


def markup_openings(markup: Markup, begins: Iterable[str]) -> list[Opening]:
    """The same for calls in tags. Where a call's own tag begins none, several stand in the tags around them."""
    call = markup.call[0]
    is_list = call not in begins
    return [
        Opening(begin, "" if begin == call else call, markup.outer[0] if is_list else "", is_list) for begin in begins
    ]


_TELLING = "name|tool_name|function|arguments|parameters"
_OTHERS = "id|type|tool_call_id|call_id"
_OBJECT = rf"""
OBJECT: /\{{[ \t\r\n,]*("({_OTHERS})"[ \t\r\n]*:[ \t\r\n]*("[^"\\\n]*"|[0-9.]+|null|true|false)[ \t\r\n]*,[ \t\r\n,]*)*/
BARE: /[^ \t\r\n,"'{{\[]/
KEY: /"[^"\\\n]*"|'[^'\\\n]*'/ & ~/.({_TELLING}|{_OTHERS})./
OF_NOBODY: /"(name|tool_name|function)"[ \t\r\n]*:[ \t\r\n]*/ (/[^ \t\r\n"'{{\[]/ | /"[^"\\\n]*"/ & ~/"(NAMES)"/)
NO_CALL: OBJECT (BARE | KEY | OF_NOBODY) | /\{{[ \t\r,]*[{{\[]/
REST: /.{{0,32}}/
"""
"""Nothing of it may hold a bracket that begins a line behind the first one: that would be an opening, too."""


def no_object(names: Iterable[str]) -> str:
    """Of a JSON object that is no call of one of the functions: its first key, or the name of its function, says so."""
    return _named(f"{_OBJECT}OTHER: NO_CALL REST\n", names)


def no_list(names: Iterable[str]) -> str:
    """Of what begins with a bracket and is neither a list of calls in JSON nor one in Python's notation."""
    lines = r"""
NESTED: /\[[ \t\r]*([\w.\-]*[ \t\r]*\[|[\w.\-]+[ \t\r]*\{)/
WORD: /[\w.\-]*[ \t\r\n]*[^ \t\r\n(\w.\-{\[]/ | /[\w.\-]+[ \t\r\n]+[\w.\-]/
CALLED: (/[\w.\-]+/ & ~/(print|NAMES)(\.call)?/) /[ \t\r\n]*\(/
OTHER: (NESTED | /\[[ \t\r\n]*/ (WORD | CALLED | NO_CALL)) REST
"""
    return _named(f"{_OBJECT}{lines}", names)


def _named(lark: str, names: Iterable[str]) -> str:
    return lark.replace("NAMES", "|".join(map(re.escape, names)))

"""Values as models write them, told as JSON while they are written.

What comes out is JSON whatever the notation: keys and strings in double quotes, Python's names for constants as JSON's,
and null for what JSON lacks (NaN, infinity, numbers beyond a float). What models forget is added: quotes, commas.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from ftllm_nb.answers.events import Arguments
from ftllm_nb.answers.reader import Reader, Steps

DEEPEST = 64
"""Lists and objects inside of one another; deeper ones are malformed."""
WORDS = {
    **dict.fromkeys(("true", "True"), "true"),
    **dict.fromkeys(("false", "False"), "false"),
    **dict.fromkeys(("null", "None", "NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"), "null"),
}
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
CODES = {"x": 2, "u": 4, "U": 8}
"""Escapes by hexadecimal code, and how many digits they have."""
MOST_OF_A_WORD = 4096
"""Characters of a number or a bare key; a longer one is malformed."""


@dataclass(frozen=True)
class Notation:
    """`quotes`: what strings are put in, the longest first; `has_escapes`: whether a backslash means something in them;
    `lists`: what lists begin and end with. Keys and strings without quotes are read in any notation."""

    quotes: tuple[str, ...] = ('"', "'")
    has_escapes: bool = True
    lists: tuple[tuple[str, str], ...] = (("[", "]"),)


JSON = Notation()
PYTHON = Notation(quotes=('"""', "'''", '"', "'"), lists=(("[", "]"), ("(", ")")))


def value(reader: Reader, notation: Notation = JSON, depth: int = 0) -> Steps[str | None]:
    """Tells the value that stands here. Returns what is missing to make it whole: "" for a whole one, else what closes
    it, where the answer ended or is malformed at `reader.at`; None where there is no value at all."""
    opened = yield from reader.take("{", *notation.quotes, *(begin for begin, _ in notation.lists))
    if opened in notation.quotes:
        yield Arguments('"')
        return (yield from string_rest(reader, opened, notation))
    if opened and depth == DEEPEST:
        reader.at -= len(opened)
        return None
    if opened == "{":
        return (yield from _members(reader, notation, depth))
    if opened:
        return (yield from _items(reader, dict(notation.lists)[opened], notation, depth))
    word = yield from _bare_text(reader, {*',}"<`\n', *(end for _, end in notation.lists)})
    told = scalar(word) if word else None
    if told is None and (not word or reader.is_at_end):
        return None
    yield Arguments(told or quoted(word))
    return ""


def _members(reader: Reader, notation: Notation, depth: int) -> Steps[str]:
    yield Arguments("{")
    is_first = True
    while True:
        yield from reader.skip_space()
        if (yield from reader.take("}")):
            yield Arguments("}")
            return ""
        key = yield from _key(reader, notation)
        if key is None:
            return "}"
        yield from reader.skip_space()
        if not (yield from reader.take(":")):
            return "}"
        yield from reader.skip_space()
        yield Arguments(("" if is_first else ", ") + quoted(key) + ": ")
        is_first = False
        missing = yield from value(reader, notation, depth + 1)
        if missing != "":
            return ("null" if missing is None else missing) + "}"
        yield from reader.skip_space()
        if not (yield from reader.take(",")) and (yield from reader.peek()) not in ("}", *JSON.quotes):
            return "}"


def _key(reader: Reader, notation: Notation) -> Steps[str | None]:
    """The key that stands here; None where there is none, or not all of it."""
    quote = yield from reader.take(*notation.quotes)
    if quote:
        return (yield from string(reader, quote, notation))
    start = reader.at
    key = yield from _bare_text(reader, set(":,{}[]\"'\n"))
    if key and (yield from reader.peek()) == ":":
        return key
    reader.at = reader.at if reader.is_at_end else start
    return None


def _items(reader: Reader, end: str, notation: Notation, depth: int) -> Steps[str]:
    yield Arguments("[")
    is_first = True
    while True:
        yield from reader.skip_space()
        if (yield from reader.take(end)):
            yield Arguments("]")
            return ""
        if not is_first:
            yield Arguments(", ")
        missing = yield from value(reader, notation, depth + 1)
        if missing is None:
            return "]" if is_first else "null]"
        if missing:
            return missing + "]"
        is_first = False
        yield from reader.skip_space()
        if not (yield from reader.take(",")) and (yield from reader.peek()) != end:
            return "]"


def string_rest(reader: Reader, quote: str, notation: Notation) -> Steps[str]:
    """Tells the rest of a string, behind its opening quote, which was told."""
    half = ""
    while True:
        piece = yield from _string_piece(reader, quote, notation)
        if half and piece is not None and "\udc00" <= piece <= "\udfff":
            piece, half = _character(half, piece), ""
        if half:  # half of a pair without the other: JSON can spell it, text cannot
            yield Arguments(quoted(half)[1:-1])
            half = ""
        if piece is None:
            return '"'
        if piece == "":
            yield Arguments('"')
            return ""
        if "\ud800" <= piece <= "\udbff":
            half = piece
        else:
            yield Arguments(quoted(piece)[1:-1])


def string(reader: Reader, quote: str, notation: Notation = JSON) -> Steps[str | None]:
    """The whole string behind an opening quote; None where its end is missing."""
    pieces: list[str] = []
    while piece := (yield from _string_piece(reader, quote, notation)):
        pieces.append(piece)
    if piece is None:
        return None
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _string_piece(reader: Reader, quote: str, notation: Notation) -> Steps[str | None]:
    """The next character of a string; "" for its end, None where the answer ends before."""
    if (yield from reader.take(quote)):
        return ""
    character = yield from reader.peek()
    if reader.ends_within(quote):
        return None
    if character == "\\" and notation.has_escapes:
        return (yield from _escaped(reader))
    reader.at += 1
    return reader.tags.spell(character)


def _escaped(reader: Reader) -> Steps[str | None]:
    kind = yield from reader.peek(1)
    if not kind:
        reader.at += 1
        return None
    if kind in CODES:
        digits = CODES[kind]
        if not (yield from reader.peek(1 + digits)):
            reader.at = len(reader.text)
            return None
        code = reader.text[reader.at + 2 : reader.at + 2 + digits]
        if re.fullmatch("[0-9a-fA-F]+", code) and int(code, 16) < 0x110000:
            reader.at += 2 + digits
            return chr(int(code, 16))
    if kind in ESCAPES:
        reader.at += 2
        return ESCAPES[kind]
    # A backslash that escapes nothing was meant as one, as in a regular expression.
    reader.at += 1
    return "\\"


def _bare_text(reader: Reader, ends: set[str]) -> Steps[str]:
    """The text without quotes that stands here, up to one of the `ends` or a tag that is a token."""
    start = reader.at
    while reader.at - start < MOST_OF_A_WORD:
        character = yield from reader.peek()
        if not character or character in ends or "\ud800" <= character <= "\udfff":
            break
        reader.at += 1
    return reader.text[start : reader.at].strip()


def scalar(word: str) -> str | None:
    """A number or a constant as JSON; None for what is neither."""
    if word in WORDS:
        return WORDS[word]
    if NUMBER.fullmatch(word):
        return word if math.isfinite(float(word)) else "null"
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word):
        number = int(word) if re.fullmatch(r"[+-]?\d+", word) else float(word)
        return json.dumps(number) if math.isfinite(number) else "null"
    return None


def quoted(text: str) -> str:
    """A text as a JSON string; lone halves of pairs stay escapes."""
    return json.dumps(text, ensure_ascii="\ud800" <= max(text, default="") <= "\udfff")


def _character(high: str, low: str) -> str:
    return (high + low).encode("utf-16", "surrogatepass").decode("utf-16")

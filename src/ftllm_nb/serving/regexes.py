"""A client's regular expressions as the grammar library reads them: Rust's syntax, on one line, between slashes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import llguidance

MOST_SHOWN = 40
"""Characters of a pattern that are shown in a sentence."""
_QUANTIFIER = re.compile(r"[*+?]|\{[0-9]+(?:,[0-9]*)?\}")
_ERROR = re.compile(r"regex parse error:\n    (.*)\n    ( *)(\^+).*\nerror: (.*)")
_LOOKS = re.compile(r"lookarounds not supported yet; (\w+) in regex")
_RECURSION = re.compile(r"\(\?(?:R|[0-9]+)\)")
_VERBOSE = re.compile(r"\(\?[a-zA-Z]*x")
_SIGNS = {"Start": "^ behind the beginning", "End": "$ before the end"}
_BLANKS = (" ", "\t", "\r", "\n", r"\t", r"\r", r"\n", r"\s", "\\ ", "\\\n")
_WRITTEN = {"/": r"\/", "\n": r"\n", "\\\n": r"\n"}
"""What Lark's notation cannot hold between its slashes."""


class RegexError(Exception):
    """What is wrong with a regular expression, and where; its text is a part of a sentence."""


def lark_of_regex(pattern: str) -> str:
    """The pattern in Lark's notation, between slashes. Raises RegexError."""
    check_signs(pattern)
    parts = [_WRITTEN.get(part, part) for _, part, _ in _parts(pattern)]
    text = f"/{''.join(parts)}/"
    failed = llguidance.LLMatcher.validate_grammar(json.dumps({"grammars": [{"lark_grammar": f"start: {text}"}]}))
    if failed:
        raise RegexError(_reason(failed, pattern, parts))
    return text


def check_signs(pattern: str) -> None:
    """RegexError for what the library would take, and read as something else than other engines do."""
    before = ""
    for at, part, in_class in _parts(pattern):
        is_quantifier = not in_class and _QUANTIFIER.fullmatch(part) is not None
        if part == "\\":
            raise RegexError(f"a backslash escapes nothing, at character {at + 1}")
        if is_quantifier and part == "+" and before:
            raise RegexError(f"possessive repetition is not supported: {before}{part}, at character {at}")
        if not in_class and (found := _RECURSION.match(pattern, at)):
            raise RegexError(f"recursion is not supported: {found[0]}, at character {at + 1}")
        if not in_class and "\n" in pattern and (found := _VERBOSE.match(pattern, at)):
            raise RegexError(f"with {found[0]}) it must be one line, at character {at + 1}")
        before = part if is_quantifier else ""


def _parts(pattern: str) -> Iterator[tuple[int, str, bool]]:
    """(place, characters, whether in a class): an escape is one part, a counted repetition is one, too."""
    at, depth = 0, 0
    while at < len(pattern):
        counted = _QUANTIFIER.match(pattern, at) if not depth else None
        part = counted[0] if counted else pattern[at : at + (2 if pattern[at] == "\\" else 1)]
        yield at, part, depth > 0
        depth = max(depth + (part == "[") - (part == "]"), 0)
        at += len(part)


def _reason(error: str, pattern: str, parts: list[str]) -> str:
    """The library's error in the terms of the pattern; `parts`: what was written of it."""
    if found := _ERROR.search(error):
        start = len(found[2])
        wrong = found[1][start : start + len(found[3])]
        wrong = wrong if len(wrong) <= MOST_SHOWN else f"{wrong[:MOST_SHOWN]}…"
        reason = f"{found[4].strip()}: {wrong}" if wrong else found[4].strip()
        return f"{reason}, at character {_place(pattern, parts, start) + 1}"
    if found := _LOOKS.search(error):
        kind = found[1]
        sign = next((each for name, each in _SIGNS.items() if kind.startswith(name)), "a border of words")
        return f"look-around is not supported: {sign}"
    return " ".join(error.split("\n", 1)[0].split()).rstrip(".")


def _place(pattern: str, parts: list[str], written: int) -> int:
    """The place in the pattern of a place in what was written."""
    length = 0
    for (at, part, _), text in zip(_parts(pattern), parts, strict=True):
        length += len(text)
        if length > written:
            return at + min(written - (length - len(text)), len(part) - 1)
    return len(pattern)


def whitespace_pattern(pattern: str) -> str:
    """The pattern, which stands between the parts of JSON, as the library reads it there. Raises RegexError where JSON
    with it would be none, or another than the pattern says: the library may always leave whitespace out."""
    lark_of_regex(pattern)
    written = ""
    for at, part, in_class in _parts(pattern):
        is_sign = part in "[]" if in_class else part in "[()|" or _QUANTIFIER.fullmatch(part)
        if part not in _BLANKS and not is_sign:
            raise RegexError(f"it may hold nothing but whitespace, and holds {part}, at character {at + 1}")
        written += r"[ \t\r\n]" if part == r"\s" else part
    if not re.fullmatch(pattern, ""):
        raise RegexError("it must let whitespace be left out, which the JSON here may always do: put ( )? around it")
    return written

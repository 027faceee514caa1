"""Regular expressions of JavaScript and Python, as far as the grammar library can follow them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import llguidance

from ftllm_nb.serving.regexes import RegexError, check_signs

_GROUPS = ("(?=", "(?!", "(?<=", "(?<!")


def followable(pattern: str) -> tuple[str | None, bool]:
    """(a pattern that can be followed and allows at least the same, or None; whether it allows exactly the same).

    What a pattern looks ahead for, looks behind for, or has at a word's border only forbids more: without that, the
    pattern allows all that it did.
    """
    if compiles_pattern(pattern):
        return pattern, True
    rest = _without_looks(pattern)
    if rest != pattern and compiles_pattern(rest):
        return rest, False
    return None, False


@lru_cache(1024)
def compiles_pattern(pattern: str) -> bool:
    """Whether the library knows all that is in the pattern."""
    try:
        check_signs(pattern)
    except RegexError:
        return False
    return compiles({"type": "string", "pattern": pattern})


def compiles(schema: dict[str, Any]) -> bool:
    """Whether the library knows all that is in the schema."""
    grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
    failed, _ = llguidance.LLMatcher.validate_grammar_with_warnings(grammar)
    return not failed


def is_regular_expression(pattern: str) -> bool:
    """Whether Python knows the pattern."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _without_looks(pattern: str) -> str:
    kept, at, in_class = [], 0, False
    while at < len(pattern):
        two = pattern[at : at + 2]
        if pattern[at] == "\\":
            if two not in ("\\b", "\\B") or in_class:
                kept.append(two)
            at += 2
        elif not in_class and pattern.startswith(_GROUPS, at):
            at = _end_of_group(pattern, at)
        else:
            in_class = pattern[at] == "[" or (in_class and pattern[at] != "]")
            kept.append(pattern[at])
            at += 1
    return "".join(kept)


def _end_of_group(pattern: str, at: int) -> int:
    depth, in_class = 0, False
    while at < len(pattern):
        letter = pattern[at]
        if letter == "\\":
            at += 1
        elif in_class:
            in_class = letter != "]"
        elif letter == "[":
            in_class = True
        else:
            depth += (letter == "(") - (letter == ")")
            if not depth:
                return at + 1
        at += 1
    return at

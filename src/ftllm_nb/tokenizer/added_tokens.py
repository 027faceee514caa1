"""Tokens that are matched in text as a whole, before the segmentation: control tokens and additions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Any, NamedTuple, TypeGuard

from ftllm_nb.errors import TokenizerError

_MOST_NESTED = 40
"""Groups in groups that the library of regular expressions is asked to read; it takes each by a call of its own."""


@dataclass(frozen=True)
class AddedToken:
    """One added token, with the flags of the tokenizers library.

    `special` tokens are left out of decoded text; `lstrip`/`rstrip` swallow the whitespace beside a match;
    `single_word` matches only between non-word characters; `normalized` matches in normalized text.
    """

    content: str
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False

    @classmethod
    def from_json(cls, value: object, where: str, special: bool) -> AddedToken:
        """From a JSON string or object; `special` is its value where the JSON says nothing."""
        if _is_text(value):
            return cls(value, special=special, normalized=not special)
        if isinstance(value, dict) and _is_text(value.get("content")):
            is_special = bool(value.get("special", special))
            return cls(
                content=value["content"],
                special=is_special,
                lstrip=bool(value.get("lstrip", False)),
                rstrip=bool(value.get("rstrip", False)),
                single_word=bool(value.get("single_word", False)),
                normalized=bool(value.get("normalized", not is_special)),
            )
        raise TokenizerError(
            f"{where}: a token must be a string or an object with `content`, got {shorten(value)}."
        )


class TokenSpan(NamedTuple):
    """Characters [start, end) of a text that stand for one token."""

    start: int
    end: int
    token_id: int


class TokenMatcher:
    """Finds added tokens in text: leftmost first, the longest at one place, as Hugging Face tokenizers do."""

    def __init__(self, tokens: Iterable[tuple[AddedToken, int]]) -> None:
        self._by_content = {token.content: (token, token_id) for token, token_id in tokens if token.content}
        self._pattern = contents_pattern(self._by_content)

    def find(self, text: str) -> list[TokenSpan]:
        """Spans of added tokens in `text` in order, widened by the whitespace that its flags swallow."""
        spans: list[TokenSpan] = []
        previous_end = 0
        for match in self._pattern.finditer(text):
            token, token_id = self._by_content[match.group()]
            start, end = match.span()
            if start < previous_end or (token.single_word and _touches_word(text, start, end)):
                continue
            if token.lstrip:
                while start > previous_end and text[start - 1].isspace():
                    start -= 1
            if token.rstrip:
                while end < len(text) and text[end].isspace():
                    end += 1
            spans.append(TokenSpan(start, end, token_id))
            previous_end = end
        return spans


def contents_pattern(contents: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches any of `contents`, the longest first; with no contents it matches nothing.

    Beginnings that several have in common are in it once: vocabularies have thousands of tokens such as <unused17>,
    which would otherwise all be tried at each <.
    """
    return re.compile(_any_of(sorted(set(contents) - {""})) or r"(?!)")


def _any_of(contents: list[str], depth: int = 0) -> str:
    """The same as text; `contents` are sorted, and each is there once."""
    if depth == _MOST_NESTED:
        return "|".join(map(re.escape, sorted(contents, key=len, reverse=True)))
    parts = []
    for _, group in groupby(contents, key=lambda content: content[:1]):
        members = list(group)
        alike = takewhile(lambda pair: pair[0] == pair[1], zip(members[0], members[-1], strict=False))
        start = "".join(character for character, _ in alike)
        rests = [member[len(start) :] for member in members if member != start]
        whole = f"(?:{_any_of(rests, depth + 1)})" if rests else ""
        parts.append(re.escape(start) + whole + ("?" if rests and start in members else ""))
    return "|".join(parts)


def shorten(value: Any, limit: int = 60) -> str:
    """`repr(value)` cut to `limit` characters, for error sentences; in one line, which arrays are not."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _is_text(value: object) -> TypeGuard[str]:
    """Whether `value` is a string that UTF-8 can express: JSON's escapes can spell halves of characters."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _touches_word(text: str, start: int, end: int) -> bool:
    def is_word(character: str) -> bool:
        return character.isalnum() or character == "_"

    return (start > 0 and is_word(text[start - 1])) or (end < len(text) and is_word(text[end]))

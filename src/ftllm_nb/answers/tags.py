"""Control tokens in an answer's text: each is one character there, which no text can spell.

A tag such as `<tool_call>` is a token of its own in some vocabularies, and ordinary text in others. Where it is a
token, only the token is the tag: the same characters written as text, inside an argument for example, are text. Lone
surrogates stand for such tokens: text that was decoded from UTF-8 holds none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ftllm_nb.tokenizer.streaming import StreamDecoder

_FIRST_MARK = 0xD800
_MARKS = re.compile("[\ud800-\udfff]")


class Tags:
    """The tags of a family. `ids`: of those that are tokens of the vocabulary; `special`: which of these are special
    tokens, which text leaves out."""

    def __init__(self, ids: Mapping[str, int], special: Iterable[int] = ()) -> None:
        left_out = frozenset(special)
        marks = {tag: chr(_FIRST_MARK + number) for number, tag in enumerate(ids)}
        self.marks = {token_id: marks[tag] for tag, token_id in ids.items()}
        """By token id."""
        self._mark_of = marks
        self._spelled = {mark: tag for tag, mark in marks.items()}
        self._shown = {marks[tag]: "" if ids[tag] in left_out else tag for tag in ids}
        longest_first = sorted(map(re.escape, ids), key=len, reverse=True)
        self._pattern = re.compile("|".join(longest_first)) if longest_first else None

    def mark(self, text: str) -> str:
        """A text of ours with marks in place of the tags that are tokens."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._mark_of[match.group()], text)

    def spell(self, text: str) -> str:
        """Text of the answer with tags as they are spelled."""
        return _MARKS.sub(lambda match: self._spelled[match.group()], text)

    def show(self, text: str) -> str:
        """Text of the answer as decoding gives it: without special tokens."""
        return _MARKS.sub(lambda match: self._shown[match.group()], text)

    def is_token(self, tag: str) -> bool:
        """Whether the tag is a token of the vocabulary."""
        return tag in self._mark_of


class MarkingDecoder:
    """A `StreamDecoder` that gives a mark for each token that is a tag."""

    def __init__(self, decoder: StreamDecoder, tags: Tags) -> None:
        self._decoder = decoder
        self._marks = tags.marks

    def push(self, token_id: int) -> str:
        """See StreamDecoder."""
        mark = self._marks.get(token_id)
        return self._decoder.push(token_id) if mark is None else self._decoder.finish() + mark

    def finish(self) -> str:
        """See StreamDecoder."""
        return self._decoder.finish()

    def token_bytes(self, token_id: int) -> bytes:
        """See StreamDecoder."""
        return self._decoder.token_bytes(token_id)

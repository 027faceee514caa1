"""Reads an answer that is still being written.

Parsers are generators. They yield events, and None where they need more of the answer before they can go on; so they
are written as if the whole text were there, and how it is cut into pieces makes no difference.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from ftllm_nb.answers.events import Arguments, Content, Event, Reasoning
from ftllm_nb.answers.tags import Tags

Result = TypeVar("Result")
Steps = Generator[Event | None, None, Result]
MOST_KEPT = 4096
"""Characters of an answer that were told and are kept."""
TextKind = type[Content] | type[Reasoning] | type[Arguments]


class NotACall(Exception):
    """What was begun is no call, so it is text."""


class UnknownFunction(NotACall):
    """It is a call, but of a function that nobody offered: all of it is text."""


class Reader:
    """The answer's text as far as it came, and the place `at` up to which it was read.

    `ended`: nothing more comes; `is_cut`: since the answer was cut. `is_thinking`: whether `at` is inside of thinking.
    Words that methods take are spelled as texts; a tag in them that is a token stands for the token. `given`: what
    stands before the answer's own text.
    """

    def __init__(self, tags: Tags, given: str = "") -> None:
        self.tags = tags
        self.text = tags.mark(given)
        self.at = 0
        self.ended = False
        self.is_cut = False
        self.is_thinking = False
        self._line_began = True
        self._dropped = -len(self.text)
        self._marked: dict[str, str] = {}

    @property
    def is_at_end(self) -> bool:
        """Whether nothing follows."""
        return self.ended and self.at >= len(self.text)

    @property
    def was_cut_here(self) -> bool:
        """Whether the answer was cut at `at`: what is open is not to be closed."""
        return self.is_cut and self.is_at_end

    def ends_within(self, *words: str) -> bool:
        """Whether the answer ends here or in the middle of one of the words, whose beginning is then read."""
        rest = self.text[self.at :]
        if not self.ended or not any(self._mark(word).startswith(rest) for word in words):
            return False
        self.at = len(self.text)
        return True

    @property
    def begins_line(self) -> bool:
        """Whether nothing but blanks stands before `at` in its line."""
        line = self.text[self.text.rfind("\n", 0, self.at) + 1 : self.at]
        return not line.strip() and ("\n" in self.text[: self.at] or self._line_began)

    def drop_read(self) -> None:
        """Forget what was read: nobody goes back."""
        self._line_began = self.begins_line
        self._dropped += self.at
        self.text, self.at = self.text[self.at :], 0

    def emit(self, kind: TextKind, start: int, end: int) -> Event:
        """The text from `start` to `end` as an event."""
        text = self.text[start:end]
        if kind is Content:
            return Content(self.tags.show(text), self._dropped + start, self._dropped + end)
        return Reasoning(self.tags.show(text)) if kind is Reasoning else Arguments(self.tags.spell(text))

    def peek(self, ahead: int = 0) -> Steps[str]:
        """The next character, or one further `ahead`; "" behind the end."""
        while self.at + ahead >= len(self.text) and not self.ended:
            yield None
        place = self.at + ahead
        return self.text[place : place + 1]

    def skip_space(self) -> Steps[None]:
        """Go on to what is no whitespace."""
        while (yield from self.peek()).isspace():
            self.at += 1

    def take(self, *words: str) -> Steps[str]:
        """The longest of the words that stands here, which is then read; "" where none does."""
        marked = {self._mark(word): word for word in words}
        while True:
            found = max((each for each in marked if self.text.startswith(each, self.at)), key=len, default="")
            rest = len(self.text) - self.at
            if self.ended or not any(
                len(each) > max(rest, len(found)) and each.startswith(self.text[self.at :]) for each in marked
            ):
                self.at += len(found)
                return marked.get(found, "")
            yield None

    def until(self, *words: str, kind: TextKind) -> Steps[str]:
        """Read on to the first of the words and past it; what stands before is told. "": there was none."""
        _, word = yield from self.until_spaced(*words, kind=kind, holds_space=False)
        return word

    def until_spaced(self, *words: str, kind: TextKind, holds_space: bool = True) -> Steps[tuple[int, str]]:
        """As `until`, but the whitespace right before the word, or before the end, is not told: it begins at the place
        that is returned with the word."""
        marked = {self._mark(word): word for word in words}
        while True:
            found, certain = self._search(marked)
            end = certain
            if holds_space:
                while end > self.at and self.text[end - 1].isspace():
                    end -= 1
            if end > self.at:
                event = self.emit(kind, self.at, end)
                self.at = end
                yield event
            if found:
                self.at = certain + len(found)
                return end, marked[found]
            if self.ended:
                self.at = len(self.text)
                return end, ""
            if kind is not Arguments and self.at > MOST_KEPT:
                self.drop_read()
            yield None

    def _search(self, words: dict[str, str]) -> tuple[str, int]:
        """The first word and its place, or "" and the place from which on one may still begin."""
        places = [(place, -len(word), word) for word in words if (place := self.text.find(word, self.at)) >= 0]
        first = min(places, default=(len(self.text), 0, ""))
        if self.ended:
            return first[2], first[0]
        longest = max(map(len, words), default=0)
        for start in range(max(self.at, len(self.text) - longest + 1), min(first[0] + 1, len(self.text))):
            rest = self.text[start:]
            if any(len(word) > len(rest) and word.startswith(rest) for word in words):
                return "", start
        return first[2], first[0]

    def _mark(self, word: str) -> str:
        if word not in self._marked:
            self._marked[word] = self.tags.mark(word)
        return self._marked[word]


def collected(steps: Steps[Result]) -> Steps[tuple[str, Result]]:
    """Runs steps whose events are pieces of text; the whole text in place of the events, and what the steps return."""
    pieces: list[str] = []
    while True:
        try:
            event = next(steps)
        except StopIteration as stop:
            return "".join(pieces), stop.value
        if event is None:
            yield None
        else:
            assert isinstance(event, (Arguments, Content, Reasoning))
            pieces.append(event.text)

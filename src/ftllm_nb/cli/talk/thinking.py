"""Thinking in an answer's text: it stands in `<think> … </think>` at the beginning, whatever the model's own tags."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from ftllm_nb.answers.events import Content, Event, Reasoning

BEGIN = "<think>"
END = "</think>"


def as_text(events: Generator[Event, None, None]) -> Generator[str, None, None]:
    """The pieces of an answer's text."""
    is_thinking = False
    with closing(events):
        for event in events:
            if isinstance(event, Reasoning):
                if not is_thinking:
                    yield f"{BEGIN}\n"
                is_thinking = True
                yield event.text
            elif isinstance(event, Content):
                if is_thinking:
                    yield f"\n{END}\n\n"
                    is_thinking = False
                yield event.text


def split_answer(answer: str) -> tuple[str, str]:
    """(the thinking, the text) of a whole answer, without tags and the blanks around them."""
    splitter = ThinkingSplitter()
    parts = [*splitter.feed(answer), *splitter.finish()]
    thought = "".join(text for is_thinking, text in parts if is_thinking)
    text = "".join(text for is_thinking, text in parts if not is_thinking)
    return thought.strip().removeprefix(BEGIN).removesuffix(END).strip(), text.lstrip() if thought else text


def with_thinking(thought: str, text: str) -> str:
    """The inverse of `split_answer`."""
    return f"{BEGIN}\n{thought}\n{END}\n\n{text}" if thought else text


class ThinkingSplitter:
    """Splits an answer that comes in pieces. All texts together are the answer, tags included."""

    def __init__(self) -> None:
        self._state = "before"
        self._held = ""

    def feed(self, piece: str) -> list[tuple[bool, str]]:
        """(whether it is thinking, text) of what is certain now; a tag that may still become one is held back."""
        self._held += piece
        parts: list[tuple[bool, str]] = []
        if self._state == "before":
            begun = self._held.lstrip()
            if BEGIN.startswith(begun):
                if begun != BEGIN:
                    return []
                self._state = "inside"
            else:
                self._state = "inside" if begun.startswith(BEGIN) else "after"
        if self._state == "inside":
            thought, tag, rest = self._held.partition(END)
            if tag:
                self._state, self._held = "after", rest
                parts.append((True, thought + tag))
            else:
                kept = _longest_tail(thought)
                self._held = thought[len(thought) - kept :]
                parts.append((True, thought[: len(thought) - kept]))
                return [part for part in parts if part[1]]
        parts.append((False, self._held))
        self._held = ""
        return [part for part in parts if part[1]]

    def finish(self) -> list[tuple[bool, str]]:
        """What was held back, when no more comes."""
        rest, self._held = self._held, ""
        return [(self._state == "inside", rest)] if rest else []


def _longest_tail(text: str) -> int:
    """How many characters at the end of the text may begin the tag that ends thinking."""
    return next(length for length in range(min(len(END) - 1, len(text)), -1, -1) if text.endswith(END[:length]))

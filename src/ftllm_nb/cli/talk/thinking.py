"""Which part of an answer is the model's thinking: what stands in `<think> … </think>` at its beginning."""

from __future__ import annotations

BEGIN = "<think>"
END = "</think>"


class ThinkingSplitter:
    """Splits an answer that comes in pieces. All texts together are the answer, tags included.

    `inside`: the prompt ended with the tag that begins thinking, so that the answer begins inside.
    """

    def __init__(self, inside: bool = False) -> None:
        self._state = "inside" if inside else "before"
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

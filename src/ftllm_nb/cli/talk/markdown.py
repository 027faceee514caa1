"""Light Markdown for text that comes in pieces: says how to show each part, and leaves every character in place.

Headings, code blocks, `code`, **bold** and *italic* are recognized line by line; marks stay, so that what is copied
from the terminal is what the model wrote. At most the marks that could still mean several things are held back.
"""

from __future__ import annotations

import re

PLAIN, HEADING, CODE, BOLD, ITALIC, BOLD_ITALIC = "", "heading", "code", "bold", "italic", "bold italic"
CODE_BLOCK = "code block"

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_MAY_BECOME_FENCE = re.compile(r" {0,3}(`{0,2}|~{0,2})")
_MAY_CLOSE_FENCE = re.compile(r" {0,3}(`*|~*) *")
_MAY_BECOME_HEADING = re.compile(r"#{1,6}")
_HEADING = re.compile(r"#{1,6}[ \n]")


class MarkdownStream:
    """`feed` and `finish` return (style, text); all texts together are what was fed."""

    def __init__(self) -> None:
        self._fence = ""
        self._head: str | None = ""
        self._line_style: str | None = None
        self._marks = ""
        self._code_marks = ""
        self._bold = self._italic = False
        self._before = "\n"
        self._parts: list[tuple[str, str]] = []

    def feed(self, text: str) -> list[tuple[str, str]]:
        """The parts of what is certain now."""
        for character in text:
            if self._head is None:
                self._in_line(character)
            else:
                self._head += character
                self._decide_line()
        return self._take()

    def finish(self) -> list[tuple[str, str]]:
        """The rest, when no more comes."""
        if self._head:
            self._begin_line(self._head, CODE_BLOCK if self._fence else None)
        self._end_marks("\n")
        return self._take()

    def _take(self) -> list[tuple[str, str]]:
        parts, self._parts = self._parts, []
        return parts

    def _show(self, style: str, text: str) -> None:
        if self._parts and self._parts[-1][0] == style:
            text = self._parts.pop()[1] + text
        if text:
            self._parts.append((style, text))

    def _decide_line(self) -> None:
        """Find out what kind of line begins, as soon as its first characters say so."""
        head = self._head or ""
        if self._fence:
            if head.endswith("\n"):
                closing = _FENCE.match(head)
                if closing is not None and closing[1].startswith(self._fence) and not head[closing.end() :].strip():
                    self._fence = ""
                self._begin_line(head, CODE_BLOCK)
            elif not _MAY_CLOSE_FENCE.fullmatch(head):
                self._begin_line(head, CODE_BLOCK)
        elif (fence := _FENCE.match(head)) is not None:
            if fence.end() < len(head):
                self._fence = fence[1]
                self._begin_line(head, CODE_BLOCK)
        elif _HEADING.match(head):
            self._begin_line(head, HEADING)
        elif not (_MAY_BECOME_FENCE.fullmatch(head) or _MAY_BECOME_HEADING.fullmatch(head)):
            self._begin_line(head, None)

    def _begin_line(self, head: str, style: str | None) -> None:
        self._head, self._line_style = None, style
        for character in head:
            self._in_line(character)

    def _in_line(self, character: str) -> None:
        if self._line_style is not None:
            self._show(self._line_style, character)
        elif character in "*`" and (not self._marks or self._marks[0] == character):
            self._marks += character
            return
        else:
            self._end_marks(character)
            if character in "*`":
                self._marks = character
                return
            self._show(self._style(), character)
        self._before = character
        if character == "\n":
            self._head, self._line_style = "", None
            self._code_marks, self._bold, self._italic = "", False, False

    def _style(self) -> str:
        if self._code_marks:
            return CODE
        if self._bold:
            return BOLD_ITALIC if self._italic else BOLD
        return ITALIC if self._italic else PLAIN

    def _end_marks(self, after: str) -> None:
        """Show the marks that were held back: `after` them comes this character."""
        marks, self._marks = self._marks, ""
        if not marks:
            return
        before = self._style()
        if marks[0] == "`":
            self._code_marks = marks if not self._code_marks else "" if marks == self._code_marks else self._code_marks
        elif not self._code_marks and len(marks) <= 3:
            opens = not after.isspace() and not (_is_ascii_word(self._before) and _is_ascii_word(after))
            closes = not self._before.isspace()
            if len(marks) != 1:
                self._bold = not closes if self._bold else opens
            if len(marks) != 2:
                self._italic = not closes if self._italic else opens
        self._show(self._style() or before, marks)
        self._before = marks[-1]


def _is_ascii_word(character: str) -> bool:
    return character.isascii() and character.isalnum()

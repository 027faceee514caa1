"""An answer on the screen as it is made: thinking dim or hidden, light Markdown, lines that end between words."""

from __future__ import annotations

import time

from ftllm_nb.cli.talk.markdown import CODE_BLOCK, MarkdownStream
from ftllm_nb.cli.talk.screen import Screen
from ftllm_nb.cli.talk.thinking import ThinkingSplitter, split_answer
from ftllm_nb.cli.talk.word_wrap import WordWrap

FRAME_SECONDS = 0.016
"""Pieces that come faster appear together: eyes see no more, and each time costs the terminal and the model's cores."""


class AnswerView:
    """Fed with pieces."""

    def __init__(self, screen: Screen, *, markdown: bool = True, hide_thinking: bool = False) -> None:
        self._screen = screen
        self._thinking = ThinkingSplitter()
        self._has_styles = markdown and screen.colours
        self._wrap = WordWrap(screen) if screen.can_erase else None
        self._markdown = MarkdownStream() if self._has_styles or self._wrap is not None else None
        self._hides = hide_thinking
        self._hidden = False
        self._flushed = 0.0

    def show(self, piece: str) -> None:
        """Let a piece appear, as far as it is certain how."""
        self._show_parts(self._thinking.feed(piece))
        now = time.perf_counter()
        if now - self._flushed >= FRAME_SECONDS:
            self._flushed = now
            self._flush()

    def finish(self) -> None:
        """Let the rest appear."""
        self._show_parts(self._thinking.finish())
        if self._markdown is not None:
            self._write_styled(self._markdown.finish())
        if self._hidden:
            self._screen.replace_line("")
        self._flush(ends=True)

    def _flush(self, *, ends: bool = False) -> None:
        if self._wrap is not None:
            (self._wrap.finish if ends else self._wrap.draw)()
        if ends:
            self._screen.write("")  # the style ends, too
        self._screen.flush()

    def _write(self, text: str, style: str = "", *, as_is: bool = False) -> None:
        if self._wrap is not None:
            self._wrap.write(text, style, as_is=as_is)
        else:
            self._screen.write(text, style)

    def _write_styled(self, parts: list[tuple[str, str]]) -> None:
        for style, text in parts:
            self._write(text, style if self._has_styles else "", as_is=style == CODE_BLOCK)

    def _show_parts(self, parts: list[tuple[bool, str]]) -> None:
        for is_thinking, text in parts:
            if is_thinking and self._hides:
                if not self._hidden:
                    self._hidden = True
                    self._screen.replace_line("(thinking)")
                continue
            if is_thinking:
                self._write(text, "thinking")
                continue
            if self._hidden:
                text = text.lstrip()
                if not text:
                    continue
                self._hidden = False
                self._screen.replace_line("")
            if self._markdown is None:
                self._write(text)
            else:
                self._write_styled(self._markdown.feed(text))


def without_thinking(answer: str) -> str:
    """A whole answer's text without its thinking, nor the blank that follows it."""
    return split_answer(answer)[1]

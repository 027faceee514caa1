"""Talking without a terminal: plain text or JSON out, for pipes, scripts and CI."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ftllm_nb.cli.talk.answer_view import AnswerView, without_thinking
from ftllm_nb.cli.talk.conversation import Conversation
from ftllm_nb.cli.talk.interrupt import interrupt_stops
from ftllm_nb.cli.talk.screen import Screen
from ftllm_nb.cli.talk.text_file import decoded
from ftllm_nb.cli.talk.thinking import ThinkingSplitter
from ftllm_nb.errors import FtllmError, UsageError

MAX_LINE_BYTES = 1 << 24
"""A longer line of input is refused, so that input without line ends cannot fill the memory."""
STDIN = "-"
ESCAPED = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
"""Control characters that JSON may hold as they are, and that a terminal would not show."""


class PlainOutput:
    """Prints answers: as text, each with a line end, or with `as_json` as a line of JSON each, with its timings.

    On a terminal text looks as in a session, with styles where `markdown` says so; elsewhere every byte is the model's.
    """

    def __init__(
        self, conversation: Conversation, *, as_json: bool = False, hide_thinking: bool = False, markdown: bool = True
    ) -> None:
        self._conversation = conversation
        self._markdown = markdown
        self._as_json = as_json
        self._hide_thinking = hide_thinking

    def answer(self, question: str) -> None:
        """Print one answer; text is written out piece by piece.

        Raises KeyboardInterrupt after Ctrl-C, OSError where stdout cannot be written, and what the model raises.
        """
        conversation = self._conversation
        with interrupt_stops(conversation):
            if self._as_json:
                before = conversation.turns
                answer = "".join(conversation.ask(question))
                has_turn = conversation.turns is not before
                line = json.dumps(self._line(question, answer, has_turn), ensure_ascii=False)
                print(line.translate(ESCAPED), flush=True)
            elif sys.stdout.isatty():
                self._show(conversation.ask(question))
            else:
                for piece in self._shown(conversation.ask(question)):
                    print(piece, end="", flush=True)
                print(flush=True)
        if conversation.stopped:
            raise KeyboardInterrupt

    def _show(self, pieces: Iterator[str]) -> None:
        screen = Screen()
        view = AnswerView(
            screen,
            markdown=self._markdown,
            hide_thinking=self._hide_thinking,
        )
        try:
            for piece in pieces:
                view.show(piece)
        finally:
            view.finish()
            screen.line()

    def _shown(self, pieces: Iterator[str]) -> Iterator[str]:
        """The pieces, without thinking where that is hidden."""
        if not self._hide_thinking:
            yield from pieces
            return
        splitter = ThinkingSplitter()
        follows_thinking = False
        for parts in (*map(splitter.feed, pieces), splitter.finish()):
            for is_thinking, text in parts:
                follows_thinking |= is_thinking
                shown = "" if is_thinking else text.lstrip() if follows_thinking else text
                if shown:
                    follows_thinking = False
                    yield shown

    def _line(self, question: str, answer: str, has_turn: bool) -> dict[str, Any]:
        conversation = self._conversation
        text = without_thinking(answer) if self._hide_thinking else answer
        last = conversation.turns[-1].statistics if has_turn else None
        numbers = {"finish_reason": "stopped"} if last is None else last.as_json()
        return {"question": question, "answer": text, **numbers}


def answer_lines(output: PlainOutput) -> None:
    """Answer each line of stdin as one turn of the conversation, until it ends. An error says of which line it is."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        print("a line is a question; Ctrl-D ends", file=sys.stderr, flush=True)
    for number, line in enumerate(read_lines(sys.stdin.buffer), 1):
        if line.strip():
            try:
                output.answer(line)
            except FtllmError as error:
                error.args = (f"line {number} of the input: {error}",)
                raise


def read_lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of stdin, without their ends and as soon as each is there; wrong bytes become U+FFFD."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            raise UsageError(
                f"line {number} of the input is longer than {MAX_LINE_BYTES >> 20} MiB: write shorter lines."
            )
        text = as_utf8(line).decode("utf-8", "replace").rstrip("\r\n")
        yield text.removeprefix("\ufeff") if number == 1 else text


def as_utf8(data: bytes) -> bytes:
    """Bytes that came through a pipe: what is no UTF-8 is text in the locale's encoding, as the sender has it."""
    encoding = sys.stdin.encoding or "utf-8"
    if 0 in data or codecs.lookup(encoding).name == "utf-8":
        return data
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(encoding, "replace").encode("utf-8")
    return data


def read_question(path: str) -> str:
    """The whole text of a file, or of stdin for "-", as one question. Raises `UsageError` where there is none."""
    try:
        if path == STDIN:
            data = as_utf8(sys.stdin.buffer.read(MAX_LINE_BYTES + 1))
        else:
            with Path(os.path.expanduser(path)).open("rb") as file:
                data = file.read(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the file {path} of --file cannot be read: {error.strerror or error}.") from None
    except ValueError:
        raise UsageError(f"--file: {path!r} holds a character that no path may hold.") from None
    if len(data) > MAX_LINE_BYTES:
        raise UsageError(f"the file {path} of --file is longer than {MAX_LINE_BYTES >> 20} MiB: choose a shorter one.")
    text = decoded(data, f"the file {path} of --file").rstrip("\n")
    if not text.strip():
        raise UsageError(f"the file {path} of --file holds no text: write the question into it.")
    return text

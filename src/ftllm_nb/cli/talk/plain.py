"""Talking without a terminal: plain text in, plain text out, for pipes, scripts and CI."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

from ftllm_nb.cli.talk.conversation import Conversation
from ftllm_nb.cli.talk.interrupt import interrupt_stops
from ftllm_nb.errors import UsageError

MAX_LINE_BYTES = 1 << 24
"""A longer line of input is refused, so that input without line ends cannot fill the memory."""


def answer_lines(conversation: Conversation) -> None:
    """Answer each line of stdin as one turn of the conversation, until it ends."""
    for line in read_lines(sys.stdin.buffer):
        if line.strip():
            print_answer(conversation, line)


def read_lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of UTF-8 text, without their ends and as soon as each is there; wrong bytes become U+FFFD."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            raise UsageError(
                f"line {number} of the input is longer than {MAX_LINE_BYTES >> 20} MiB: write shorter lines."
            )
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        yield text.removeprefix("\ufeff") if number == 1 else text


def print_answer(conversation: Conversation, question: str) -> None:
    """Print one answer and a line end; each piece is written out at once.

    Raises KeyboardInterrupt after Ctrl-C, OSError where stdout cannot be written, and what the model raises.
    """
    with interrupt_stops(conversation):
        for piece in conversation.ask(question):
            print(piece, end="", flush=True)
    print(flush=True)
    if conversation.stopped:
        raise KeyboardInterrupt

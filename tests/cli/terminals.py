"""Chats with a scripted model on pseudo-terminals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect

from tests.forking.programs import program, python

PROMPT_IS_READY = "\x1b[?2004h"
"""What prompt_toolkit writes when it begins to read: bracketed paste on."""


def start(*flags: str, size: tuple[int, int] = (24, 200), **environment: str) -> Any:
    """A chat on a terminal without colours, which answers to keys."""
    # Python itself reads at its start what the encoding of the streams is to be.
    begin = python if "PYTHONIOENCODING" in environment else program
    command, *arguments = begin("tests.cli.scripted_chat", *flags)
    return pexpect.spawn(
        command,
        arguments,
        encoding="utf-8",
        timeout=30,
        dimensions=size,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", **environment},
    )


@contextmanager
def talking(*flags: str, **options: Any) -> Iterator[Any]:
    terminal = start(*flags, **options)
    try:
        terminal.expect_exact(PROMPT_IS_READY)
        yield terminal
    finally:
        terminal.close(force=True)


def ask(terminal: Any, line: str) -> str:
    """Type the line; what is printed until the next prompt."""
    terminal.send(line + "\r")
    terminal.expect_exact("\x1b[?2004l")
    terminal.expect_exact(PROMPT_IS_READY)
    return str(terminal.before)


def leaves(terminal: Any) -> int:
    """The exit status of a program that is about to end."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return int(terminal.exitstatus)

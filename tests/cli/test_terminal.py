"""Chat on a terminal: the prompt, Ctrl-C, clear and stop, through a pseudo-terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest

PROMPT_IS_READY = "\x1b[?2004h"
"""What prompt_toolkit writes when it begins to read: bracketed paste on."""


@pytest.fixture
def terminal() -> Iterator[Any]:
    program = pexpect.spawn(
        sys.executable, ["-m", "tests.cli.scripted_chat"], encoding="utf-8", timeout=30, dimensions=(24, 200)
    )
    try:
        program.expect_exact(PROMPT_IS_READY)
        yield program
    finally:
        program.close(force=True)


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


def test_the_banner_names_model_threads_and_the_way_out(terminal: Any) -> None:
    banner = re.sub(r"\x1b\[.*?[A-Za-z]|\r", "", terminal.before).splitlines()
    assert re.fullmatch(r"(loading \[.*%)?ftllm-nb [0-9.]+, model demo, 2 threads", banner[0])
    assert "Ctrl-C" in banner[1] and "clear" in banner[1] and "stop" in banner[1]


def test_turns_and_forgetting(terminal: Any) -> None:
    assert ask(terminal, "hello") == "1 hello\r\n"
    assert ask(terminal, "again") == "3 again\r\n"
    assert ask(terminal, "") == ""
    assert "forgotten" in ask(terminal, " clear ")
    assert ask(terminal, "anew") == "1 anew\r\n"
    terminal.send("stop\r")
    assert leaves(terminal) == 0


def test_ctrl_c_stops_the_answer_and_keeps_the_session(terminal: Any) -> None:
    terminal.send("count\r")
    terminal.expect_exact(" 5 6 7 ")
    started = time.perf_counter()
    terminal.send("\x03")
    terminal.expect_exact("(stopped)")
    assert time.perf_counter() - started < 0.3
    terminal.expect_exact(PROMPT_IS_READY)
    assert ask(terminal, "more") == "3 more\r\n"


def test_ctrl_c_at_the_prompt_says_how_to_leave(terminal: Any) -> None:
    terminal.send("half a ques\x03")
    terminal.expect_exact("(stop or Ctrl-D leaves)")
    terminal.expect_exact(PROMPT_IS_READY)
    terminal.send("\x04")
    assert leaves(terminal) == 0


def test_an_error_keeps_the_session(terminal: Any) -> None:
    answer = ask(terminal, "x" * 101)
    assert answer.startswith("error: The prompt has 101 tokens") and "clear forgets" in answer
    assert ask(terminal, "fail") == "well\r\nerror: The step failed.\r\n"
    assert ask(terminal, "fine") == "1 fine\r\n"


def test_an_answer_cannot_steer_the_terminal(terminal: Any) -> None:
    assert ask(terminal, "control") == "a[2Jb\r\n\tc\r\n"


def test_a_terminal_without_abilities_still_talks() -> None:
    import os

    program = pexpect.spawn(
        sys.executable,
        ["-m", "tests.cli.scripted_chat"],
        encoding="utf-8",
        timeout=30,
        env={**os.environ, "TERM": "dumb"},
    )
    try:
        program.expect_exact("leaves\r\n")
        program.send("hello\r")
        program.expect_exact("1 hello\r\n")
        program.send("stop\r")
        assert leaves(program) == 0
    finally:
        program.close(force=True)

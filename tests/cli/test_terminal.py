"""Chat on a terminal: the prompt, Ctrl-C, clear and stop, through a pseudo-terminal."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Any

import pexpect
import pytest

from tests.cli.terminals import PROMPT_IS_READY, ask, leaves, talking
from tests.timing import least_seconds


def seconds_until_stopped(terminal: Any) -> float:
    """Press Ctrl-C, and wait until the program says that it has stopped."""
    started = time.perf_counter()
    terminal.send("\x03")
    terminal.expect_exact("(stopped)")
    return time.perf_counter() - started


def test_the_banner_names_model_weights_threads_and_the_way_out() -> None:
    with talking(SCRIPTED_LOADING="0.6") as terminal:
        banner = re.sub(r"\x1b\[.*?[A-Za-z]|\r", "", terminal.before).splitlines()
    assert re.fullmatch(r"loading \[.*%ftllm-nb [0-9.]+, model demo, float32, \w+, 2 threads", banner[0])
    assert all(word in banner[1] for word in ("/help", "Ctrl-C", "/exit", "Ctrl-D"))


def test_turns_and_forgetting(terminal: Any) -> None:
    assert ask(terminal, "hello") == "1 hello\r\n"
    assert ask(terminal, "again") == "3 again\r\n"
    assert ask(terminal, "") == ""
    assert "forgotten" in ask(terminal, " clear ")
    assert ask(terminal, "anew") == "1 anew\r\n"
    terminal.send("stop\r")
    assert leaves(terminal) == 0


def test_ctrl_c_stops_the_answer_and_keeps_the_session(terminal: Any) -> None:
    def seconds() -> float:
        ask(terminal, "/clear")
        terminal.send("count\r")
        terminal.expect_exact(" 5 6 7 ")
        return seconds_until_stopped(terminal)

    assert least_seconds(seconds, 0.3) <= 0.3
    terminal.expect_exact(PROMPT_IS_READY)
    assert ask(terminal, "more") == "3 more\r\n"


def test_ctrl_c_at_the_prompt_takes_back_what_was_typed_and_then_says_how_to_leave(terminal: Any) -> None:
    terminal.send("half a ques\x03")
    terminal.expect_exact(PROMPT_IS_READY)
    assert "leaves" not in terminal.before
    terminal.send("\x03")
    terminal.expect_exact("(/exit or Ctrl-D leaves)")
    terminal.expect_exact(PROMPT_IS_READY)
    terminal.send("\x04")
    assert leaves(terminal) == 0


def test_an_error_keeps_the_session(terminal: Any) -> None:
    assert ask(terminal, "x" * 101) == "error: The prompt has 101 tokens, but the context holds 100.\r\n"
    assert ask(terminal, "fail") == "well\r\nerror: The step failed.\r\n"
    assert ask(terminal, "fine") == "1 fine\r\n"


@pytest.mark.slow
def test_thinking_is_shown_or_hidden() -> None:
    with talking() as terminal:
        assert ask(terminal, "think") == "<think>hm</think>\r\n\r\nso\r\n"
        ask(terminal, "/set hide_thinking on")
        # The word that stands for the thinking is erased before the answer begins.
        assert ask(terminal, "think") == "\r\x1b[K(thinking)\r\x1b[Kso\r\n"
    with talking("--hide_thinking") as terminal:
        assert ask(terminal, "think").endswith("\r\x1b[Kso\r\n")


def test_a_full_context_offers_to_drop_the_oldest_turns() -> None:
    with talking(SCRIPTED_CONTEXT="100") as terminal:
        ask(terminal, "a" * 30)
        ask(terminal, "b" * 10)
        terminal.send("c" * 40 + "\r")
        terminal.expect_exact("Drop the oldest turn and ask again? [Y/n] ")
        terminal.send("\r")
        terminal.expect_exact("3 " + "c" * 40)
        terminal.expect_exact(PROMPT_IS_READY)
        terminal.send("d" * 40 + "\r")
        terminal.expect_exact("[Y/n] ")
        terminal.send("n\r")
        terminal.expect_exact("(not asked: the Up key brings the question back)")
        terminal.expect_exact(PROMPT_IS_READY)
        assert "2 turns" in ask(terminal, "/show")


def test_ctrl_z_during_an_answer_gives_the_shell_its_terminal_and_goes_on_after() -> None:
    shell = pexpect.spawn(
        "bash", ["--norc", "-i"], encoding="utf-8", timeout=30, env={**os.environ, "TERM": "dumb", "PS1": "$ "}
    )
    try:
        shell.expect_exact("$ ")
        shell.send(f"{sys.executable} -m tests.cli.scripted_chat\r")
        shell.expect_exact("> ")
        shell.send("count\r")
        shell.expect_exact(" 5 6 7 ")
        shell.send("\x1a")
        shell.expect_exact("Stopped")
        shell.expect_exact("$ ")
        shell.send("stty | cat; fg\r")
        shell.expect_exact("scripted_chat\r\n")
        assert "-echo" not in shell.before
        shell.send("unseen")
        shell.expect(r"\d \d+ \d+ \d+ ")
        assert "unseen" not in shell.before + shell.after
        shell.send("\x03")
        shell.expect_exact("(stopped)")
    finally:
        shell.close(force=True)


def test_a_long_prefill_shows_a_bar_and_can_be_stopped(terminal: Any) -> None:
    def seconds() -> float:
        terminal.send("slow\r")
        terminal.expect_exact("reading [")
        taken = seconds_until_stopped(terminal)
        assert terminal.before.endswith("\r\x1b[K ")
        return taken

    assert least_seconds(seconds, 0.3) <= 0.3
    terminal.expect_exact(PROMPT_IS_READY)
    assert ask(terminal, "fine") == "1 fine\r\n"

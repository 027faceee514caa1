"""Keys on a terminal: lines, blocks, completion, and what is typed while an answer is made."""

from __future__ import annotations

import shlex
from typing import Any

import pexpect
import pytest

from tests.cli.terminals import PROMPT_IS_READY, ask, leaves, start
from tests.forking.programs import program


def test_a_block_in_quotes_is_one_question(terminal: Any) -> None:
    terminal.send('"""one\rtwo\rthree"""\r')
    terminal.expect_exact("1 one\r\ntwo\r\nthree\r\n")


def test_alt_enter_begins_a_new_line(terminal: Any) -> None:
    terminal.send("one\x1b\rtwo\r")
    terminal.expect_exact("1 one\r\ntwo\r\n")


def test_a_pasted_block_stays_whole(terminal: Any) -> None:
    terminal.send("\x1b[200~" + "\r".join(f"{number % 10}" for number in range(300)) + "\x1b[201~")
    terminal.send("\r")
    # 599 characters are too many: they arrived as one question.
    terminal.expect_exact("The prompt has 599 tokens")


def test_tab_completes_a_command(terminal: Any) -> None:
    terminal.send("/sta")
    terminal.expect_exact("show the last answer")  # what the menu says of the command
    terminal.send("\t")
    terminal.expect_exact("ts")
    terminal.send("\r")
    terminal.expect_exact("(no answer yet)")


def test_tab_goes_on_to_the_argument(terminal: Any) -> None:
    terminal.send("/se")
    terminal.expect_exact("change a setting")
    terminal.send("\tmark")  # "/set " is certain, and its names follow
    terminal.expect_exact("markdown")
    terminal.send("\t")
    terminal.expect_exact("off")  # what the menu offers for it
    terminal.send("off\r")
    terminal.expect_exact("(markdown is off)")


def test_what_is_typed_during_an_answer_does_not_appear_in_it_and_is_asked_then(terminal: Any) -> None:
    terminal.send("pause\r")
    terminal.expect_exact("before ")
    terminal.send("next\r")
    terminal.expect_exact("after")
    assert "next" not in terminal.before
    terminal.expect_exact("3 next")


def test_ctrl_c_ends_what_was_typed_ahead_too(terminal: Any) -> None:
    terminal.send("count\rat once\r")  # the prompt reads both, and keeps the second
    terminal.expect_exact(" 5 6 7 ")
    terminal.send("meanwhile\r")
    terminal.expect_exact(" 25 26 27 ")
    terminal.send("\x03")
    terminal.expect_exact("(stopped)")
    terminal.expect_exact(PROMPT_IS_READY)
    assert ask(terminal, "more") == "3 more\r\n"


@pytest.mark.slow
def test_ctrl_d_during_an_answer_leaves_after_it() -> None:
    for environment in ({}, {"TERM": "dumb"}):
        terminal = start(**environment)
        terminal.expect_exact("leaves")
        terminal.send("pause\r")
        terminal.expect_exact("before ")
        terminal.send("\x04")
        terminal.expect_exact("after")
        assert leaves(terminal) == 0


def test_what_is_typed_while_the_model_loads_is_asked() -> None:
    terminal = start(SCRIPTED_LOADING="1")
    try:
        terminal.expect_exact("loading [")
        terminal.send("hello\r")
        terminal.expect_exact(PROMPT_IS_READY)
        assert "hello" not in terminal.before
        terminal.expect_exact("1 hello\r\n")
    finally:
        terminal.close(force=True)


def test_who_reads_lines_from_a_keyboard_says_so() -> None:
    command = f"{shlex.join(program('tests.cli.scripted_chat'))} > /dev/null"
    terminal = pexpect.spawn("sh", ["-c", command], encoding="utf-8")
    terminal.expect_exact("a line is a question; Ctrl-D ends")
    terminal.send("hello\r\x04")
    assert leaves(terminal) == 0

"""What a session on a terminal keeps for the next one, and what it may not write over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminals import PROMPT_IS_READY, ask, leaves, start, talking


@pytest.mark.slow
def test_earlier_questions_are_found_and_suggested_in_the_next_session(tmp_path: Path) -> None:
    with talking(XDG_STATE_HOME=str(tmp_path)) as terminal:
        ask(terminal, "a rare question")
        ask(terminal, "another")
    assert (tmp_path / "ftllm-nb" / "history").stat().st_mode & 0o777 == 0o600
    with talking(XDG_STATE_HOME=str(tmp_path)) as terminal:
        terminal.send("\x12rare")
        terminal.expect("question")
        terminal.send("\r\r")
        terminal.expect_exact("1 a rare question")
    with talking(XDG_STATE_HOME=str(tmp_path)) as terminal:
        terminal.send("ano")
        terminal.expect_exact("ther")
        terminal.send("\x1b[C\r")
        terminal.expect_exact("1 another")


@pytest.mark.slow
def test_the_conversation_goes_on_with_its_settings(tmp_path: Path) -> None:
    with talking(XDG_STATE_HOME=str(tmp_path)) as terminal:
        ask(terminal, "/set temperature 0.5")
        ask(terminal, "/system be brief")
        ask(terminal, "one")
    with talking("--continue", XDG_STATE_HOME=str(tmp_path)) as terminal:
        assert "> one\r\n2 one\r\n" in terminal.before
        assert ask(terminal, "two") == "4 two\r\n"
        assert "('temperature', 0.5)" in ask(terminal, "options")
    with talking("--continue", "--temperature", "0.25", "--top_k=7", XDG_STATE_HOME=str(tmp_path)) as terminal:
        assert "('temperature', 0.25), ('top_k', 7)" in ask(terminal, "options")  # flags go before what was saved
        shown = ask(terminal, "/show")
        assert "0.25, from --temperature" in shown and "from ftllm-nb's own defaults" in shown
        ask(terminal, "/undo")
        ask(terminal, "/set temperature 0.5")
    variables = {"FTLLM_NB_TEMPERATURE": "0.75", "FTLLM_NB_MIN_P": "0.125"}  # go behind what was saved
    with talking("--continue", XDG_STATE_HOME=str(tmp_path), **variables) as terminal:
        shown = ask(terminal, "/show")
        assert "0.5, from the saved conversation" in shown and "7, from the saved conversation" in shown
        assert "0.125, from the environment variable FTLLM_NB_MIN_P" in shown
    terminal = start("--continue", "-m", "three", XDG_STATE_HOME=str(tmp_path))
    terminal.expect_exact("8 three\r\n")
    assert leaves(terminal) == 0


def test_files_of_others_are_replaced_only_when_the_user_says_so(terminal: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text("precious")
    for key, written in (("\r", False), ("n\r", False), ("\x04", False), ("y\r", True)):
        terminal.send(f"/export {file}\r")
        terminal.expect_exact("Replace it? [y/N] ")
        terminal.send(key)
        terminal.expect_exact("exported as" if written else "(nothing was written)")
        terminal.expect_exact(PROMPT_IS_READY)
        assert (file.read_text() != "precious") == written


@pytest.mark.slow
def test_a_cleared_conversation_does_not_come_back(tmp_path: Path) -> None:
    with talking(XDG_STATE_HOME=str(tmp_path)) as terminal:
        ask(terminal, "/set temperature 0.5")
        ask(terminal, "one")
        ask(terminal, "/clear")
    with talking("--continue", XDG_STATE_HOME=str(tmp_path)) as terminal:
        assert "(going on with the settings: no turn is kept)" in terminal.before
        assert ask(terminal, "two") == "1 two\r\n"
        assert "('temperature', 0.5)" in ask(terminal, "options")
    with talking(XDG_STATE_HOME=str(tmp_path)) as terminal:
        ask(terminal, "/set temperature 0.7")  # a setting alone is no conversation that replaces the last one
    with talking("--continue", XDG_STATE_HOME=str(tmp_path)) as terminal:
        assert "going on after 2 turns" in terminal.before

"""Chat on a terminal: the prompt, Ctrl-C, clear and stop, through a pseudo-terminal."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

PROMPT_IS_READY = "\x1b[?2004h"
"""What prompt_toolkit writes when it begins to read: bracketed paste on."""


def start(*flags: str, size: tuple[int, int] = (24, 200), **environment: str) -> Any:
    """A chat on a terminal without colours, which answers to keys."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "tests.cli.scripted_chat", *flags],
        encoding="utf-8",
        timeout=30,
        dimensions=size,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1", **environment},
    )


@contextmanager
def talking(*flags: str, **options: Any) -> Iterator[Any]:
    program = start(*flags, **options)
    try:
        program.expect_exact(PROMPT_IS_READY)
        yield program
    finally:
        program.close(force=True)


@pytest.fixture(scope="module")
def sessions() -> Iterator[list[Any]]:
    """The session that the tests of this file share, when there is one."""
    shared: list[Any] = []
    yield shared
    for program in shared:
        program.close(force=True)


@pytest.fixture
def terminal(sessions: list[Any]) -> Any:
    """A session at its prompt and without turns: the shared one, or a new one where a test has ended it."""
    for program in sessions:
        if program.closed:
            break
        try:
            program.setwinsize(24, 200)
            program.send("\x03/clear\r")
            program.expect_exact("the conversation is forgotten", timeout=5)
            program.expect_exact(PROMPT_IS_READY)
            return program
        except (pexpect.ExceptionPexpect, OSError):
            program.close(force=True)
    sessions[:] = [start()]
    sessions[0].expect_exact(PROMPT_IS_READY)
    return sessions[0]


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
    terminal.send("count\r")
    terminal.expect_exact(" 5 6 7 ")
    started = time.perf_counter()
    terminal.send("\x03")
    terminal.expect_exact("(stopped)")
    assert time.perf_counter() - started < 0.3
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


def test_an_answer_cannot_steer_the_terminal(terminal: Any) -> None:
    assert ask(terminal, "control") == "a[2Jb\r\n\tc\r\n"


def test_wide_joined_and_right_to_left_characters_arrive_as_they_are(terminal: Any) -> None:
    assert ask(terminal, "wide") == "你好 \U0001f468\u200d\U0001f469\u200d\U0001f467 שלום e\u0301\r\n"


def test_half_a_character_is_never_printed(terminal: Any) -> None:
    assert ask(terminal, "half") == "well\r\n"


@pytest.mark.slow
def test_thinking_is_shown_or_hidden() -> None:
    with talking() as terminal:
        assert ask(terminal, "think") == "<think>hm</think>\r\n\r\nso\r\n"
        ask(terminal, "/set hide_thinking on")
        # The word that stands for the thinking is erased before the answer begins.
        assert ask(terminal, "think") == "\r\x1b[K(thinking)\r\x1b[Kso\r\n"
    with talking("--hide_thinking") as terminal:
        assert ask(terminal, "think").endswith("\r\x1b[Kso\r\n")


def test_styles_where_there_are_colours_and_none_with_plain() -> None:
    with talking(NO_COLOR="") as terminal:
        answer = ask(terminal, "markdown")
        assert "\x1b[0;1;35m# Heading" in answer and "\x1b[0;36m`code`" in answer
        assert "\x1b[0;1m**bold**" in answer and "\x1b[0;36m```python\r\nx = 1\r\n```" in answer
        assert "\x1b[0;2m<think>hm</think>\x1b[0m" in ask(terminal, "think")
    with talking("--plain", NO_COLOR="") as terminal:
        assert ask(terminal, "markdown").startswith("# Heading\r\na `code` and **bold** text\r\n```python\r\n")


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
    program = start("--continue", "-m", "three", XDG_STATE_HOME=str(tmp_path))
    program.expect_exact("8 three\r\n")
    assert leaves(program) == 0


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


def test_a_resized_terminal_goes_on(terminal: Any) -> None:
    terminal.setwinsize(10, 40)
    terminal.send("hello\r")
    terminal.expect_exact("1 hello\r\n")
    terminal.expect_exact(PROMPT_IS_READY)
    assert max(map(len, re.sub(r"\x1b\[.*?[A-Za-z]|\r", "", ask(terminal, "/help")).splitlines())) < 40


@pytest.mark.parametrize("environment", [{"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, {}])
def test_a_narrow_terminal_of_any_encoding(environment: dict[str, str]) -> None:
    with talking(size=(10, 40), **environment) as terminal:
        assert ask(terminal, "wide").startswith("??" if environment else "你好")
        assert ask(terminal, "fine") == "3 fine\r\n"


def test_a_terminal_without_abilities_still_talks() -> None:
    program = start(TERM="dumb")
    program.logfile_read = seen = io.StringIO()
    try:
        program.expect_exact("leaves\r\n")
        program.send("hello\r")
        program.expect_exact("1 hello\r\n")
        program.send('"""two\rlines"""\r')
        program.expect_exact("3 two\r\nlines\r\n")
        program.send("half\x03")
        program.expect_exact("(/exit or Ctrl-D leaves)")
        program.send("stop\r")
        assert leaves(program) == 0
        assert "\x1b" not in seen.getvalue()
    finally:
        program.close(force=True)


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
        program = start(**environment)
        program.expect_exact("leaves")
        program.send("pause\r")
        program.expect_exact("before ")
        program.send("\x04")
        program.expect_exact("after")
        assert leaves(program) == 0


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


def seen_on_terminal(*flags: str, shell: str = "") -> str:
    """What `ftllm-nb chat` prints on a terminal, whose other ends may be pipes of the shell."""
    command = f"{shell} {sys.executable} -m tests.cli.scripted_chat " + " ".join(map(shlex.quote, flags))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    program = pexpect.spawn("sh", ["-c", command], encoding="utf-8", timeout=30, env=environment)
    program.expect(pexpect.EOF)
    program.close()
    return str(program.before)


@pytest.mark.slow
@pytest.mark.parametrize("flags, shell", [(("-m", "control"), ""), ((), "echo control |")])
def test_an_answer_without_a_session_cannot_steer_the_terminal_either(flags: tuple[str, ...], shell: str) -> None:
    assert seen_on_terminal(*flags, shell=shell) == "a[2Jb\r\n\tc\r\n"


def test_who_reads_lines_from_a_keyboard_says_so() -> None:
    program = pexpect.spawn("sh", ["-c", f"{sys.executable} -m tests.cli.scripted_chat > /dev/null"], encoding="utf-8")
    program.expect_exact("a line is a question; Ctrl-D ends")
    program.send("hello\r\x04")
    assert leaves(program) == 0


def test_json_on_a_terminal_is_the_same_json_without_control_characters() -> None:
    seen = seen_on_terminal("--json", "-m", "control c1")
    assert "\x9b" not in seen and json.loads(seen)["answer"] == "1 control c1 \x9b\x7f"


def test_warnings_and_errors_cannot_steer_the_terminal() -> None:
    seen = seen_on_terminal("--atype", "float16", "-p", "demo\x1b]0;owned\x07\x1b[2J")
    assert "demo\\x1b]0;owned" in seen and not re.search("[\x00-\x08\x0e-\x1f\x7f-\x9f]", seen)


def test_what_is_typed_while_the_model_loads_is_asked() -> None:
    program = start(SCRIPTED_LOADING="1")
    try:
        program.expect_exact("loading [")
        program.send("hello\r")
        program.expect_exact(PROMPT_IS_READY)
        assert "hello" not in program.before
        program.expect_exact("1 hello\r\n")
    finally:
        program.close(force=True)


def test_a_long_prefill_shows_a_bar_and_can_be_stopped(terminal: Any) -> None:
    terminal.send("slow\r")
    terminal.expect_exact("reading [")
    started = time.perf_counter()
    terminal.send("\x03")
    terminal.expect_exact("(stopped)")
    assert time.perf_counter() - started < 0.3
    assert terminal.before.endswith("\r\x1b[K ")
    terminal.expect_exact(PROMPT_IS_READY)
    assert ask(terminal, "fine") == "1 fine\r\n"

"""Terminals of all sizes, encodings and abilities; what is printed there cannot steer them."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
from typing import Any

import pexpect
import pytest

from tests.cli.terminals import PROMPT_IS_READY, ask, leaves, start, talking
from tests.forking.programs import program


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
    terminal = start(TERM="dumb")
    terminal.logfile_read = seen = io.StringIO()
    try:
        terminal.expect_exact("leaves\r\n")
        terminal.send("hello\r")
        terminal.expect_exact("1 hello\r\n")
        terminal.send('"""two\rlines"""\r')
        terminal.expect_exact("3 two\r\nlines\r\n")
        terminal.send("half\x03")
        terminal.expect_exact("(/exit or Ctrl-D leaves)")
        terminal.send("stop\r")
        assert leaves(terminal) == 0
        assert "\x1b" not in seen.getvalue()
    finally:
        terminal.close(force=True)


def test_styles_where_there_are_colours_and_none_with_plain() -> None:
    with talking(NO_COLOR="") as terminal:
        answer = ask(terminal, "markdown")
        assert "\x1b[0;1;35m# Heading" in answer and "\x1b[0;36m`code`" in answer
        assert "\x1b[0;1m**bold**" in answer and "\x1b[0;36m```python\r\nx = 1\r\n```" in answer
        assert "\x1b[0;2m<think>hm</think>\x1b[0m" in ask(terminal, "think")
    with talking("--plain", NO_COLOR="") as terminal:
        assert ask(terminal, "markdown").startswith("# Heading\r\na `code` and **bold** text\r\n```python\r\n")


def seen_on_terminal(*flags: str, shell: str = "") -> str:
    """What `ftllm-nb chat` prints on a terminal, whose other ends may be pipes of the shell."""
    command = f"{shell} {shlex.join(program('tests.cli.scripted_chat', *flags))}"
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    terminal = pexpect.spawn("sh", ["-c", command], encoding="utf-8", timeout=30, env=environment)
    terminal.expect(pexpect.EOF)
    terminal.close()
    return str(terminal.before)


@pytest.mark.slow
@pytest.mark.parametrize("flags, shell", [(("-m", "control"), ""), ((), "echo control |")])
def test_an_answer_without_a_session_cannot_steer_the_terminal_either(flags: tuple[str, ...], shell: str) -> None:
    assert seen_on_terminal(*flags, shell=shell) == "a[2Jb\r\n\tc\r\n"


def test_json_on_a_terminal_is_the_same_json_without_control_characters() -> None:
    seen = seen_on_terminal("--json", "-m", "control c1")
    assert "\x9b" not in seen and json.loads(seen)["answer"] == "1 control c1 \x9b\x7f"


def test_warnings_and_errors_cannot_steer_the_terminal() -> None:
    seen = seen_on_terminal("--atype", "float16", "-p", "demo\x1b]0;owned\x07\x1b[2J")
    assert "demo\\x1b]0;owned" in seen and not re.search("[\x00-\x08\x0e-\x1f\x7f-\x9f]", seen)


def test_an_answer_cannot_steer_the_terminal(terminal: Any) -> None:
    assert ask(terminal, "control") == "a[2Jb\r\n\tc\r\n"


def test_wide_joined_and_right_to_left_characters_arrive_as_they_are(terminal: Any) -> None:
    assert ask(terminal, "wide") == "你好 \U0001f468\u200d\U0001f469\u200d\U0001f467 שלום e\u0301\r\n"


def test_half_a_character_is_never_printed(terminal: Any) -> None:
    assert ask(terminal, "half") == "well\r\n"

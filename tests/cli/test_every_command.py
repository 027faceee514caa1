"""A whole evening at the terminal with the bundled model: every command, Ctrl-C in prefill and in decode, a paste.

What the terminal showed is kept in `build/screens` of this repository, to be looked at.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest

import ftllm_nb
from ftllm_nb.cli.talk.commands import commands
from tests.forking.programs import program
from tests.timing import least_seconds

PROMPT_IS_READY = "\x1b[?2004h"
SCREENS = Path(__file__).parents[2] / "build" / "screens"
DEMO = Path(ftllm_nb.__file__).parent / "demo"


class Evening:
    """A session on a terminal; `say` types a line and returns what was printed until the next prompt."""

    def __init__(self, folder: Path, model: str, *flags: str) -> None:
        environment = {
            **os.environ,
            "TERM": "xterm",
            "NO_COLOR": "1",
            "XDG_STATE_HOME": str(folder / "state"),
            "EDITOR": f"{sys.executable} {folder / 'editor.py'}",
        }
        command, *arguments = program("ftllm_nb", "chat", "-p", model, "-t", "1", *flags)
        self.program = pexpect.spawn(
            command,
            arguments,
            encoding="utf-8",
            timeout=60,
            dimensions=(30, 160),
            env=environment,
            cwd=folder,
        )
        self.seen: list[str] = []
        self.program.expect_exact(PROMPT_IS_READY)

    def say(self, line: str) -> str:
        self.program.send(line + "\r")
        self.program.expect_exact("\x1b[?2004l")
        return self.rest(line)

    def rest(self, line: str) -> str:
        self.program.expect_exact(PROMPT_IS_READY)
        text = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]|\r", "", self.program.before)
        self.seen.append(f"> {line}\n{text}")
        return text


@contextmanager
def evening(folder: Path, name: str, model: str = "demo", *flags: str) -> Iterator[Evening]:
    session = Evening(folder, model, *flags)
    try:
        yield session
    finally:
        session.program.close(force=True)
        SCREENS.mkdir(parents=True, exist_ok=True)
        (SCREENS / f"{name}.txt").write_text("\n".join(session.seen), encoding="utf-8")


@pytest.mark.slow
def test_every_command(tmp_path: Path) -> None:
    (tmp_path / "editor.py").write_text("import sys; open(sys.argv[1], 'w').write('What is 40 + 2?')")
    (tmp_path / "notes.txt").write_text("My name is Alice.\n")
    used = set()
    with evening(tmp_path, "every command") as session:

        def say(line: str) -> str:
            used.add(line.split()[0][1:])
            return session.say(line)

        listed = say("/help")
        assert all(command.usage in listed for command in commands().values())
        assert session.say("What is 17 + 25?") == "42\n"
        assert "reused from the cache" in say("/stats")
        assert say("/regen").startswith("42\n(the same answer")
        reused, prompt = (int(re.search(rf"(\d+) {word}", say("/stats"))[1]) for word in ("reused", "tokens:"))  # type: ignore[index]
        assert reused == prompt - 1
        assert "What is 17 + 25?" in say("/undo")
        assert "no answer yet" in say("/stats")
        assert "system message: Answer briefly." in say("/system Answer briefly.")
        assert "temperature is 0" in say("/set temperature 0")
        assert "42" in say("/edit")
        assert "will stand before" in say("/read notes.txt")
        assert "Alice" in session.say("What is my name?")
        shown = say("/show")
        assert re.search(r"system +Answer briefly\.", shown) and "2 turns" in shown
        assert "saved as talk.json" in say("/save talk.json")
        assert len(json.loads((tmp_path / "talk.json").read_text())["messages"]) == 5
        assert "exported as talk.md" in say("/export talk.md")
        assert "Alice" in (tmp_path / "talk.md").read_text()
        assert "forgotten" in say("/clear")
        assert "going on after 2 turns" in say("/load talk.json")
        assert "ms a token" in say("/profile")
        used.add("exit")
        session.program.send("/exit\r")
        session.program.expect(pexpect.EOF)
        session.program.close()
        assert session.program.exitstatus == 0
    assert used == set(commands())
    with evening(tmp_path, "the next evening", "demo", "--continue") as session:
        assert "going on after 2 turns" in session.program.before
        session.program.send("\x1217 +")
        session.program.send("\r\r")
        assert "42" in session.rest("(searched: 17 +)").rpartition("17 + 25?")[2]


def slow_model(folder: Path) -> Path:
    """The bundled model with room for long prompts, and answers that do not end."""
    model = folder / "long"
    model.mkdir()
    for file in DEMO.iterdir():
        changes: dict[str, Any] = {
            "config.json": {"max_position_embeddings": 100_000},
            "generation_config.json": {"min_new_tokens": 50_000},
        }.get(file.name, {})
        if changes:
            (model / file.name).write_text(json.dumps({**json.loads(file.read_text()), **changes}))
        else:
            (model / file.name).symlink_to(file)
    return model


@pytest.mark.slow
def test_ctrl_c_in_prefill_and_in_decode_keeps_the_session(tmp_path: Path) -> None:
    pasted = "\r".join(f"Line {number} of a text that is much longer than a screen." for number in range(1500))
    with evening(tmp_path, "Ctrl-C", str(slow_model(tmp_path))) as session:
        program = session.program
        for question in (f"\x1b[200~{pasted}\x1b[201~", "What is 17 + 25?"):

            def seconds(question: str = question) -> float:
                session.say("/undo")
                program.send(question)
                time.sleep(2.0 if len(question) > 100 else 0.2)
                program.send("\r")
                program.expect_exact("\x1b[?2004l")
                time.sleep(0.4)
                started = time.perf_counter()
                program.send("\x03")
                program.expect_exact("(stopped)")
                taken = time.perf_counter() - started
                session.rest(question[:40])
                return taken

            assert least_seconds(seconds, 0.3) <= 0.3
        assert "1 turn" in session.say("/show")
        session.say("/set max_tokens 1")
        assert "error" not in session.say("What is 17 + 25?")


def test_a_paste_of_300_lines_is_one_question(tmp_path: Path) -> None:
    pasted = "\r".join(f"Line {number}" for number in range(300))
    with evening(tmp_path, "a paste") as session:
        session.program.send(f"\x1b[200~{pasted}\x1b[201~")
        time.sleep(1.0)
        session.program.setwinsize(12, 50)
        session.program.send("\r")
        session.program.expect(r"the prompt has \d+\s+tokens")
        session.rest("(300 lines)")
        assert session.say("/undo").startswith("error: the conversation has no turn yet")

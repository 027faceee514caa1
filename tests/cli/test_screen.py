"""The screen: what is written appears at once and together, and nothing in it steers the terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from ftllm_nb.cli.talk import answer_view
from ftllm_nb.cli.talk.answer_view import AnswerView
from ftllm_nb.cli.talk.screen import Screen


class Terminal(io.StringIO):
    """Keeps what each write call brought."""

    def __init__(self, is_terminal: bool = False) -> None:
        super().__init__()
        self.brought: list[str] = []
        self._is_terminal = is_terminal

    def write(self, text: str) -> int:
        if text:
            self.brought.append(text)
        return len(text)

    def isatty(self) -> bool:
        return self._is_terminal


def test_what_is_written_appears_with_the_flush() -> None:
    terminal = Terminal()
    screen = Screen(terminal)
    screen.write("one ")
    screen.write("two\n")
    assert terminal.brought == []
    screen.flush()
    screen.flush()
    assert terminal.brought == ["one two\n"]


def test_pieces_of_one_frame_appear_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 10.004, 10.008, 10.020, 10.021])
    monkeypatch.setattr(answer_view, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    terminal = Terminal()
    view = AnswerView(Screen(terminal))
    for piece in ("a", "b", "c", "d", "e"):
        view.show(piece)
    assert terminal.brought == ["a", "bcd"]
    view.finish()
    assert terminal.brought == ["a", "bcd", "e"]


def test_control_characters_stay_out_and_styles_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal(is_terminal=True)
    screen = Screen(terminal)
    screen.write("so\x1b[2J \x9b1m\tbold", "bold")
    screen.line(" plain")
    assert terminal.brought == ["\x1b[0;1mso[2J 1m\tbold\x1b[0m plain\n"]


def test_a_line_is_replaced_after_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal(is_terminal=True)
    screen = Screen(terminal)
    screen.write("before")
    screen.replace_line("bar")
    assert "".join(terminal.brought) == "before\r\x1b[Kbar"

"""Writing on a terminal: colours where there are any, and nothing that could steer it by chance or by malice."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from ftllm_nb.cli.talk.characters import lines_of
from ftllm_nb.terminal_text import unfiltered, without_controls

STYLES = {
    "heading": "1;35",
    "code": "36",
    "code block": "36",
    "bold": "1",
    "italic": "3",
    "bold italic": "1;3",
    "prompt": "1;36",
    "thinking": "2",
    "note": "2",
    "error": "31",
}
"""The numbers of the escape sequence that begins a style (ECMA-48, SGR)."""


def has_colours(stream: TextIO) -> bool:
    """Whether the stream is a terminal that shows styles, and nobody asked for none (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """What the conversation is shown on. `columns` is asked for anew each time, since terminals are resized."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = unfiltered(out or sys.stdout)
        self.colours = has_colours(self.out)
        self.can_erase = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._style = ""
        self._waiting: list[str] = []

    @property
    def columns(self) -> int:
        """The terminal's width, at least 10; 80 where there is no terminal."""
        try:
            return max(os.get_terminal_size(self.out.fileno()).columns or 80, 10)
        except (OSError, ValueError):
            return 80

    def write(self, text: str, style: str = "") -> None:
        """Put text where the cursor is; it appears with the next `flush`, also where Python's own output waits for
        nothing (PYTHONUNBUFFERED)."""
        if self.colours and style != self._style:
            self._waiting.append(f"\x1b[0;{STYLES[style]}m" if style else "\x1b[0m")
            self._style = style
        self._waiting.append(without_controls(text))

    def line(self, text: str = "", style: str = "") -> None:
        """Text on a line of its own, and out with it."""
        self.write(text, style)
        self.write("\n")
        self.flush()

    def note(self, text: str) -> None:
        """What the program has to say, as a line in brackets."""
        self.line(self.wrapped(f"({text})"), "note")

    def error(self, text: str) -> None:
        """What went wrong, as a sentence."""
        self.line(self.wrapped(f"error: {text}"), "error")

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Names and what is said of them, in two columns; on a narrow terminal the second one below the first."""
        width = max(len(name) for name, _ in rows)
        beside = self.columns >= width + 24
        indent = width + 2 if beside else 4
        for name, text in rows:
            first, *more = lines_of(text, max(self.columns - indent - 1, 10)) or [""]
            if beside:
                self.write(f"{name:{width}}  {first}\n")
            else:
                self.write(f"{name}\n{' ' * indent}{first}\n")
            for line in more:
                self.write(f"{' ' * indent}{line}\n")
        self.flush()

    def wrapped(self, text: str) -> str:
        """The text broken between words where a terminal would break it within one."""
        return "\n".join(lines_of(text, self.columns - 1)) if self.out.isatty() else text

    def flush(self) -> None:
        """Let everything written appear."""
        text = "".join(self._waiting)
        self._waiting.clear()
        self.out.write(text)
        self.out.flush()

    def take_back(self, columns: int) -> None:
        """Erase so many columns before the cursor, on its line, where the terminal can."""
        self._waiting.append(f"\x1b[{columns}D\x1b[K")

    def replace_line(self, text: str) -> None:
        """Put text in place of the line that the cursor is in, where the terminal can."""
        if self.can_erase:
            self._waiting.append(f"\r\x1b[K{without_controls(text)}")
            self.flush()

"""What may reach a terminal: text, and no character that steers it.

A model's answer, a file's name, a template or a server's reply may hold escape sequences, by chance or by malice: they
would clear the screen, rename the window or hide a line. `guard_terminals` puts one filter before everything that this
program prints on a terminal; who draws there on purpose asks for the stream by `unfiltered`. Pipes and files get every
byte as it is.
"""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

CONTROL_CHARACTERS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
"""Left out on a terminal: C0 and C1 without line ends and tabs, and DEL."""
_WITH_RETURN = {code: None for code in CONTROL_CHARACTERS if chr(code) != "\r"}


def without_controls(text: str) -> str:
    """The text without what would steer a terminal."""
    return text.translate(CONTROL_CHARACTERS)


def one_printable_line(message: str) -> str:
    """The message on one line; what a file's name may hold and would steer the terminal is shown escaped."""
    line = re.sub(r"\s*\n\s*", " ", message.strip())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class TerminalText:
    """A text stream that leads to a terminal, without control characters. Everything but `write` is the stream's own.

    `keeps_return`: carriage returns pass, with which libraries draw their progress bars over one line.
    """

    def __init__(self, stream: TextIO, *, keeps_return: bool = False) -> None:
        self.unfiltered = stream
        self._left_out = _WITH_RETURN if keeps_return else CONTROL_CHARACTERS

    def write(self, text: str) -> int:
        """Write it without control characters; how many characters it had."""
        self.unfiltered.write(text.translate(self._left_out))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


def guard_terminals() -> None:
    """From now on, nothing that is printed on stdout or stderr steers a terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream.isatty() and not isinstance(stream, TerminalText):
            setattr(sys, name, TerminalText(stream, keeps_return=name == "stderr"))


def unfiltered(stream: TextIO) -> TextIO:
    """The stream itself, for who draws on a terminal and filters what it draws."""
    return stream.unfiltered if isinstance(stream, TerminalText) else stream

"""put a file's text before the next question"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.saved import read_text

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "FILE"
TAKES_FILE = True


def run(repl: Repl, argument: str) -> None:
    """Several files may be read one after another; /clear forgets them."""
    text = read_text(argument)
    repl.read_texts.append(text.rstrip("\n"))
    lines = len(text.splitlines())
    repl.screen.note(f"{argument}, {lines} {'line' if lines == 1 else 'lines'}, will stand before the next question")

"""write the conversation as Markdown, to read"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.saved import as_markdown, write_text

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "FILE"
TAKES_FILE = True


def run(repl: Repl, argument: str) -> None:
    """A heading a message."""
    write_text(argument, as_markdown(repl.conversation, repl.model_name))
    repl.screen.note(f"exported as {argument}")

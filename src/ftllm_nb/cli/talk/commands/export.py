"""write the conversation as Markdown, to read"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.replace import may_replace, write_by_command
from ftllm_nb.cli.talk.saved import as_markdown

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "FILE"
TAKES_FILE = True


def run(repl: Repl, argument: str) -> None:
    """A heading a message. Asks before it replaces a file of others."""
    if may_replace(repl, argument, "/export!"):
        run_unasked(repl, argument)


def run_unasked(repl: Repl, argument: str) -> None:
    """The same, whatever the file holds."""
    write_by_command(repl, argument, as_markdown(repl.conversation, repl.model_name))
    repl.screen.note(f"exported as {argument}")

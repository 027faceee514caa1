"""write the conversation into a file that /load reads"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.saved import as_json, write_text

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "FILE"
TAKES_FILE = True


def run(repl: Repl, argument: str) -> None:
    """JSON: messages, settings and statistics."""
    write_text(argument, as_json(repl.conversation, repl.model_name))
    repl.screen.note(f"saved as {argument}")

"""put a file's text before the next question; patterns as src/*.py name several"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.waiting import read_waiting
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "FILE"
TAKES_FILE = True


def run(repl: Repl, argument: str) -> None:
    """Several files may be read, also by a pattern as src/*.py. /undo puts the last ones away again, /clear all, and so
    does a question that is too long with them."""
    new = read_waiting(argument)
    model, limit = repl.conversation.model, repl.conversation.model.get_max_input_len()
    tokens = model.get_input_token_len("\n\n".join(each.text for each in [*repl.waiting, new]))
    if tokens > limit:
        together = " together with what was read before" if repl.waiting else ""
        raise UsageError(
            f"{argument} has {tokens} tokens{together}, and the model's context holds {limit}: read a shorter file."
        )
    repl.waiting.append(new)
    for note in new.notes:
        repl.screen.note(note)
    lines = len(new.text.splitlines())
    size = f"{new.files} files" if new.files > 1 else f"{lines} {'line' if lines == 1 else 'lines'}"
    repl.screen.note(
        f"{argument}, {size}, will stand before the next question, which has {tokens} tokens so far; "
        "/undo puts it away"
    )

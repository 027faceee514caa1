"""put a file's text before the next question"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.saved import read_text
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "FILE"
TAKES_FILE = True


def run(repl: Repl, argument: str) -> None:
    """Several files may be read. /clear forgets them, and so does a question that is too long with them."""
    text = read_text(argument).rstrip("\n")
    if not text.strip():
        raise UsageError(f"{argument} holds no text.")
    model = repl.conversation.model
    lines, tokens = len(text.splitlines()), model.get_input_token_len("\n\n".join([*repl.read_texts, text]))
    if tokens > model.get_max_input_len():
        together = " together with what was read before" if repl.read_texts else ""
        raise UsageError(
            f"{argument} has {tokens} tokens{together}, and the model's context holds {model.get_max_input_len()}: "
            "read a shorter file."
        )
    repl.read_texts.append(text)
    repl.screen.note(
        f"{argument}, {lines} {'line' if lines == 1 else 'lines'}, will stand before the next question, "
        f"which has {tokens} tokens so far"
    )

"""tell the model how to behave; without TEXT, show what it is told"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.conversation import replace_undecoded

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "[TEXT]"
NONE = "default"
"""The text that takes the system message away."""


def run(repl: Repl, argument: str) -> None:
    """The conversation stays, and its next answer follows the new message."""
    conversation = repl.conversation
    if argument:
        conversation.system = None if argument == NONE else replace_undecoded(argument)
        repl.remember()
    if conversation.system is None:
        repl.screen.note("no system message: the model's own, if its chat template has one")
    else:
        repl.screen.note(f"system message: {conversation.system}")


def complete(repl: Repl, text: str) -> list[str]:
    """The present message, to be changed, and the word that takes it away."""
    return [each for each in (repl.conversation.system, NONE) if each is not None and each.startswith(text)]

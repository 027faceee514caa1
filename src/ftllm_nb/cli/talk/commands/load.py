"""go on with a saved conversation and its settings"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.saved import SavedConversation, read_conversation
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ARGUMENT = "FILE"
TAKES_FILE = True


def run(repl: Repl, argument: str) -> None:
    """In place of the present conversation; asks where that is kept nowhere."""
    saved = read_conversation(argument)
    turns = len(repl.conversation.turns)
    if turns and repl.conversation.turns != repl.kept_turns:
        lost = f"the conversation of {turns} {'turn' if turns == 1 else 'turns'} is not saved"
        if repl.ask_yes_no is None:
            raise UsageError(f"{lost}: /load! {argument} loads in its place.")
        if not repl.ask_yes_no(f"{lost[0].upper()}{lost[1:]}. Load {argument} in its place? [y/N]", False):
            repl.screen.note("not loaded: /save FILE keeps the conversation")
            return
    load(repl, saved)


def run_unasked(repl: Repl, argument: str) -> None:
    """The same, whatever becomes of the present conversation."""
    load(repl, read_conversation(argument))


def load(repl: Repl, saved: SavedConversation) -> None:
    """Go on from there; a file holds it, so that leaving it loses nothing."""
    repl.restore(saved)
    repl.kept_turns = repl.conversation.turns

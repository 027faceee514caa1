"""show the model, the system message and the settings"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.sampling_arguments import SAMPLING
from ftllm_nb.cli.talk.commands.set import SWITCHES, setting_text
from ftllm_nb.cli.talk.waiting import in_words

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


def run(repl: Repl, argument: str) -> None:
    """A line each."""
    conversation = repl.conversation
    turns = len(conversation.turns)
    repl.screen.table([
        ("model", repl.model_name),
        ("weights", repl.weights),
        ("context", f"{conversation.context_tokens()} of {conversation.model.get_max_input_len()} tokens, "
                    f"{turns} {'turn' if turns == 1 else 'turns'}"),
        *([("waiting", f"{in_words(repl.waiting)}, before the next question")] if repl.waiting else []),
        ("system", conversation.system or "the model's own"),
        *((name, setting_text(repl, name)) for name in (*SAMPLING, *SWITCHES)),
    ])  # fmt: skip

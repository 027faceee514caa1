"""answer the last question again"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


MEANT_BY = dict.fromkeys(("again", "redo", "regenerate", "retry"), "/regen answers the last question again")


def run(repl: Repl, argument: str) -> None:
    """The new answer replaces the old one as soon as it is there."""
    before = repl.conversation.turns[-1:]
    repl.answer_again()
    after = repl.conversation.turns[-1:]
    if before and before[0].answer == after[0].answer and before[0] is not after[0]:
        settings = repl.conversation.sampling()
        if settings.is_greedy:
            why, remedy = "the likeliest words are taken", "/set temperature 0.8 lets chance choose"
        elif settings.seed is not None:
            why, remedy = f"the seed is {settings.seed}", "/set seed default takes another each time"
        else:
            return
        repl.screen.note(f"the same answer, since {why}: {remedy}")

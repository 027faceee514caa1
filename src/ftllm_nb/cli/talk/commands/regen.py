"""answer the last question again"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


def run(repl: Repl, argument: str) -> None:
    """The new answer replaces the old one as soon as it is there."""
    before = repl.conversation.turns[-1:]
    repl.answer_again()
    after = repl.conversation.turns[-1:]
    if before and before[0].answer == after[0].answer and before[0] is not after[0]:
        repl.screen.note("the same answer: /set temperature 0.8 lets chance choose, another /set seed other words")

"""take back a file that /read read, else the last question and its answer"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


def run(repl: Repl, argument: str) -> None:
    """Says what it was."""
    if repl.waiting:
        repl.screen.note(f"put away: {repl.waiting.pop().name}")
        return
    question = " ".join(repl.conversation.undo().question.split())
    if len(question) > 40:
        question = question[:39] + "…"
    repl.remember()
    repl.screen.note(f"taken back: {question}")

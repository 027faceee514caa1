"""forget the conversation"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


MEANT_BY = dict.fromkeys(("forget", "new", "reset", "restart"), "/clear forgets the conversation")


def run(repl: Repl, argument: str) -> None:
    """System message and settings stay. `--continue` does not bring the conversation back."""
    repl.conversation.forget()
    repl.waiting.clear()
    repl.remember()
    repl.screen.note("the conversation is forgotten")

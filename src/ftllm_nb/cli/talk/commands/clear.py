"""forget the conversation"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


def run(repl: Repl, argument: str) -> None:
    """System message and settings stay."""
    repl.conversation.forget()
    repl.read_texts.clear()
    repl.screen.note("the conversation is forgotten")

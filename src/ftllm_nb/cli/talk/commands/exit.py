"""leave"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.commands import LeaveRepl

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


ALIASES = ("bye", "q", "quit")
MEANT_BY = dict.fromkeys(("close", "leave", "stop"), "/exit leaves, Ctrl-C stops an answer")


def run(repl: Repl, argument: str) -> None:
    """The conversation can be gone on with by `ftllm-nb chat --continue`."""
    raise LeaveRepl

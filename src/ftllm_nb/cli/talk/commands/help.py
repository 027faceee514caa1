"""list the commands and keys"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.commands import commands

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

ALIASES = ("?", "h")
KEYS = (
    ("Enter", "send"),
    ("Alt-Enter", "a new line; a pasted block keeps its lines"),
    ('"""', "begins and ends a question of several lines"),
    ("Ctrl-C", "stops the answer"),
    ("Ctrl-R", "searches earlier questions; Right takes what is suggested"),
    ("Tab", "completes commands, their arguments and files"),
    ("Ctrl-D", "leaves"),
)


def run(repl: Repl, argument: str) -> None:
    """Print the tables."""
    rows = [(command.usage, command.summary) for command in commands().values()]
    rows += [("clear, exit, help", "are commands where they stand alone; so are stop, quit, :q and ?")]
    repl.screen.table(rows)
    repl.screen.line()
    repl.screen.table(KEYS)

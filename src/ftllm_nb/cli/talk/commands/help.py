"""list the commands and keys"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ftllm_nb.cli.talk.commands import commands

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl

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
    """Print the table."""
    rows = [(command.usage, command.summary) for command in commands().values()]
    rows += [("clear, stop", "as /clear and /exit")]
    show(repl, rows)
    repl.screen.line()
    show(repl, list(KEYS))


def show(repl: Repl, rows: list[tuple[str, str]]) -> None:
    """Two columns; on a narrow terminal the second one below the first."""
    width = max(len(name) for name, _ in rows)
    columns = repl.screen.columns
    beside = columns >= width + 30
    for name, text in rows:
        indent = width + 2 if beside else 4
        wrapped = textwrap.wrap(text, max(columns - indent - 1, 10))
        if beside:
            repl.screen.line(f"{name:{width}}  {wrapped[0]}")
        else:
            repl.screen.line(name)
            repl.screen.line(" " * indent + wrapped[0])
        for more in wrapped[1:]:
            repl.screen.line(" " * indent + more)

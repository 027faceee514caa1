"""The slash commands: one file a command, found by its name.

A module of this package is a command. It has

- a docstring, whose first line `/help` shows;
- `run(repl, argument)`, which does the work; `argument` is the rest of the line;
- optionally `ARGUMENT`, what `/help` shows for it, `TAKES_FILE = True` where that is a file's path, and
  `complete(repl, text)`, the arguments that begin with `text`;
- optionally `ALIASES`, other names that work, and `MEANT_BY`, names of other programs that are answered by a hint;
- optionally `run_unasked(repl, argument)`, what `/NAME!` does: the same without asking back.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ftllm_nb.cli.parser import nearest
from ftllm_nb.errors import UsageError

if TYPE_CHECKING:
    from ftllm_nb.cli.talk.repl import Repl


@dataclass(frozen=True)
class Command:
    """A slash command, as its module declares it."""

    name: str
    summary: str
    argument: str
    takes_file: bool
    run: Callable[[Repl, str], None]
    run_unasked: Callable[[Repl, str], None] | None
    aliases: tuple[str, ...]
    meant_by: dict[str, str]
    complete: Callable[[Repl, str], Iterable[str]] | None

    @property
    def usage(self) -> str:
        """The command as it is typed."""
        return f"/{self.name} {self.argument}".rstrip()


class LeaveRepl(Exception):
    """The user wants to leave."""


@functools.cache
def commands() -> dict[str, Command]:
    """Every command by its name, in alphabetical order."""
    found = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found[entry.name] = Command(
            name=entry.name,
            summary=(module.__doc__ or "").strip().splitlines()[0],
            argument=getattr(module, "ARGUMENT", ""),
            takes_file=getattr(module, "TAKES_FILE", False),
            run=module.run,
            run_unasked=getattr(module, "run_unasked", None),
            aliases=getattr(module, "ALIASES", ()),
            meant_by=getattr(module, "MEANT_BY", {}),
            complete=getattr(module, "complete", None),
        )
    return found


def run_command(repl: Repl, line: str) -> None:
    """Run a line that begins with a slash. Raises `UsageError` for an unknown command, or one used wrongly."""
    name, _, argument = line.strip()[1:].partition(" ")
    is_unasked = name.endswith("!")
    command = command_of(name.removesuffix("!").lower())
    if command is None:
        raise UsageError(f"unknown command /{name}{hint(name.removesuffix('!').lower())}; /help lists them.")
    if is_unasked and command.run_unasked is None:
        raise UsageError(f"/{command.name} asks nothing back: leave out the exclamation mark.")
    argument = argument.strip()
    if command.takes_file and len(argument) > 2 and argument[0] == argument[-1] and argument[0] in "'\"":
        argument = argument[1:-1]  # as a shell would
    if argument and not command.argument:
        raise UsageError(f"/{command.name} takes nothing after it, but {argument!r} was given.")
    if not argument and command.argument and not command.argument.startswith("["):
        raise UsageError(f"/{command.name} needs more: {command.usage}.")
    (command.run_unasked if is_unasked and command.run_unasked else command.run)(repl, argument)


def command_of(name: str) -> Command | None:
    """The command of that name or alias."""
    aliases = (command for command in commands().values() if name in command.aliases)
    return commands().get(name) or next(aliases, None)


def hint(name: str) -> str:
    """What somebody may have meant who typed an unknown command, in brackets; nothing where nobody knows."""
    for command in commands().values():
        if name in command.meant_by:
            return f" ({command.meant_by[name]})"
    return nearest(f"/{name}", [f"/{known}" for known in commands()])

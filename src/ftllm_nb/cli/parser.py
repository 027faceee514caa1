"""An argument parser that reports bad usage in one sentence and accepts both spellings of a flag."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn


class CommandParser(argparse.ArgumentParser):
    """Differs from ArgumentParser in four ways.

    - `--repeat-penalty` is `--repeat_penalty`: flags are declared with `_`, and either spelling is accepted.
    - Flags cannot be abbreviated, so that a new flag never changes what an old command line means.
    - Bad usage is one sentence, `error: …`, on stderr, and exit status 2; the usage stays in `--help`.
    - A misspelt flag or command is answered with the nearest one.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self.commands: dict[str, CommandParser] = {}

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As ArgumentParser's, with `-` inside long flags read as `_`, and unknown arguments refused here."""
        arguments = list(sys.argv[1:] if args is None else args)
        spelt = with_underscores(arguments)
        parsed, unknown = super().parse_known_args(spelt, namespace)
        if unknown:
            self.error(self.explain_unknown(unknown[0]))
        return parsed, unknown

    def explain_unknown(self, argument: str) -> str:
        """What to say of an argument that no flag and no position takes."""
        if not argument.startswith("-"):
            return f"unexpected argument {argument!r} (put a text of several words in quotes)"
        flags = [flag for action in self._actions for flag in action.option_strings]
        return f"unknown flag {argument.partition('=')[0]}{nearest(argument.partition('=')[0], flags)}"

    def error(self, message: str) -> NoReturn:
        """Print one sentence on stderr and exit with status 2."""
        message = message.removeprefix("argument ")
        wrong_command = re.match(r"COMMAND: invalid choice: '(.*?)' \(choose from", message)
        if wrong_command is not None:
            message = f"unknown command {wrong_command[1]!r}{nearest(wrong_command[1], list(self.commands))}"
        elif message == "the following arguments are required: COMMAND":
            message = f"a command is missing: {', '.join(self.commands)}"
        self.exit(2, f"error: {message}; see {self.prog} --help.\n")


def with_underscores(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--a-b` and `--a-b=value` spelt `--a_b` and `--a_b=value`, up to a `--`."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    spelt = list(arguments)
    for position, argument in enumerate(spelt[:end]):
        if argument.startswith("--"):
            flag, equals, value = argument[2:].partition("=")
            spelt[position] = "--" + flag.replace("-", "_") + equals + value
    return spelt


def nearest(word: str, known: list[str]) -> str:
    """` (did you mean …?)`, or nothing where no known word is near; the dashes of flags are no likeness.

    A word that is the beginning of one known word means that one.
    """
    import difflib  # only here: a right command line does not pay for it

    by_letters = {each.lstrip("-"): each for each in known}
    letters = word.lstrip("-")
    longer = [each for each in by_letters if letters and each.startswith(letters)]
    matches = longer if len(longer) == 1 else difflib.get_close_matches(letters, by_letters, n=1)
    return f" (did you mean {by_letters[matches[0]]}?)" if matches else ""

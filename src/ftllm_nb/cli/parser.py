"""An argument parser that reports bad usage in one sentence and accepts both spellings of a flag."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

CLEARER = (
    (r"^the following arguments are required: (.*)", r"\1 is missing"),
    (r": expected one argument$", " needs a value"),
    (r": ignored explicit argument .*", " takes no value"),
)
"""What argparse says, and what this program says instead."""


class Repeatable(argparse._AppendAction):
    """A flag that may be given several times: what the command line gives takes the default's place."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """One more value; the first one begins a list of its own."""
        if getattr(namespace, self.dest, None) is self.default:
            setattr(namespace, self.dest, [])
        super().__call__(parser, namespace, values, option_string)


class Switch(argparse._StoreTrueAction):
    """A flag without a value; `--no_FLAG` turns off what the user's settings turned on."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Turn it on, or off."""
        setattr(namespace, self.dest, option_string in self.option_strings)


class CommandParser(argparse.ArgumentParser):
    """Differs from ArgumentParser in seven ways.

    - `--repeat-penalty` is `--repeat_penalty`: flags are declared with `_`, and either spelling is accepted.
    - Flags cannot be abbreviated, so that a new flag never changes what an old command line means.
    - Bad usage is one sentence, `error: …`, on stderr, and exit status 2; the usage stays in `--help`.
    - A misspelt flag, command or choice is answered with the nearest one.
    - The usage says what a command takes by position, and leaves the flags to the list below it.
    - A flag that may be repeated replaces its default, which the user's settings may have given.
    - `--no_FLAG` turns a switch off.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self.register("action", "append", Repeatable)
        self.register("action", "store_true", Switch)
        self.commands: dict[str, CommandParser] = {}

    def parse_known_args(  # type: ignore[override]  # of two overloads, one
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As ArgumentParser's, with `-` inside long flags read as `_`, and unknown arguments refused here."""
        arguments = list(sys.argv[1:] if args is None else args)
        spelt = with_underscores(arguments)
        for action in self._actions:
            if isinstance(action, Switch):  # not among its option_strings, which the help shows
                for spelling in action.option_strings:
                    self._option_string_actions[f"--no_{spelling.lstrip('-')}"] = action
        if self.commands and spelt and spelt[0].startswith("-"):
            flag = spelt[0].partition("=")[0]
            if flag not in self._option_string_actions:
                self.error(self.explain_unknown(flag))
        parsed, unknown = super().parse_known_args(spelt, namespace)
        if unknown:
            self.error(self.explain_unknown(unknown[0]))
        return parsed, unknown

    def explain_unknown(self, argument: str) -> str:
        """What to say of an argument that no flag and no position takes."""
        if not argument.startswith("-"):
            metavars = {action.metavar for action in self._actions}
            hint = " (put a text of several words in quotes)" if "TEXT" in metavars else ""
            hint = " (the folder to make goes after -o)" if "OUT" in metavars else hint
            return f"unexpected argument {argument!r}{hint}"
        flag = argument.partition("=")[0]
        return f"unknown flag {flag}{nearest(OTHER_FLAGS.get(flag.lstrip('-'), flag), self.flags)}"

    @property
    def flags(self) -> list[str]:
        """All spellings of its flags."""
        return [flag for action in self._actions for flag in action.option_strings]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices."""
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command {value!r}{nearest(value, [*self.commands, *self.flags])}")
        try:
            one_of(value, list(map(str, action.choices)))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentError(action, str(error)) from None

    def error(self, message: str) -> NoReturn:
        """Print one sentence on stderr and exit with status 2."""
        message = message.removeprefix("argument ")
        for said, better in CLEARER:
            message = re.sub(said, better, message)
        if message == "COMMAND is missing":
            message = f"a command is missing: {', '.join(self.commands)}"
        self.exit(2, f"error: {message}; see {self.prog} --help.\n")

    def short_usage(self, name: str) -> str:
        """`ftllm-nb NAME [flags] POSITIONAL …`."""
        words = [
            f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)
            for action in self._actions
            if not action.option_strings
        ]
        return " ".join(["ftllm-nb", name, "[flags]", *words])


OTHER_WORDS = {
    "fp32": "float32", "f32": "float32", "float": "float32", "fp16": "float16", "f16": "float16", "half": "float16",
    "bf16": "bfloat16", "q8": "int8", "q4": "int4", "w8": "int8", "w4": "int4", "8bit": "int8", "4bit": "int4",
}  # fmt: skip
"""What other programs call values that flags take here."""
OTHER_FLAGS = {
    "model": "path", "model_path": "path", "prompt": "message", "system_prompt": "system", "n_predict": "max_tokens",
    "max_new_tokens": "max_tokens", "num_threads": "threads", "quantization": "dtype", "verbose": "debug",
}  # fmt: skip
"""What other programs call flags, and what is near to nothing here."""


def one_of(text: str, known: list[str]) -> str:
    """The text, if it is one of the known words. Raises `ArgumentTypeError`, which names the nearest one."""
    if text not in known:
        meant = nearest(OTHER_WORDS.get(text.lower(), text), known)
        raise argparse.ArgumentTypeError(f"{', '.join(known[:-1])} or {known[-1]} is expected, not {text!r}{meant}")
    return text


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

    by_letters = {each.lstrip("-").lower(): each for each in known}
    letters = word.lstrip("-").lower()
    longer = [each for each in by_letters if letters and each.startswith(letters)]
    matches = longer if len(longer) == 1 else difflib.get_close_matches(letters, by_letters, n=1)
    return f" (did you mean {by_letters[matches[0]]}?)" if matches else ""

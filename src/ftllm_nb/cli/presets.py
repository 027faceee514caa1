"""Defaults of flags that the user sets once: in config.toml, or by environment variables `FTLLM_NB_FLAG`.

A flag on the command line goes before a variable, and that before the file. In config.toml, a flag's name at the top is
for every command that has it, and one in a table is for the command of that name:

    threads = 4

    [chat]
    temperature = 0.7
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftllm_nb.cli.parser import CommandParser, nearest
from ftllm_nb.errors import UsageError
from ftllm_nb.user_folders import config_folder

PREFIX = "FTLLM_NB_"
OTHER_VARIABLES = {"cache_dir", "tier", "uncapped_threads"}
"""What follows the prefix in variables that mean something else; FASTLLM_CACHEDIR is the one of --cache_dir."""
SWITCH_VALUES = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False, "": False}
WITHOUT_PRESET = ("help", "version")


def config_file() -> Path | None:
    """Where config.toml lies, or would; None where the user has no home."""
    folder = config_folder()
    return None if folder is None else folder / "config.toml"


def apply_presets(
    parser: CommandParser, environment: Mapping[str, str] | None = None, file: Path | None = None
) -> None:
    """Make the user's settings the defaults of the commands' flags. Raises `UsageError` for wrong ones."""
    environment = os.environ if environment is None else environment
    file = file or config_file()
    settings = {} if file is None else read_settings(file)
    known = {name: flags_of(command) for name, command in parser.commands.items()}
    require_known(settings, known, str(file))
    warn_of_unknown(environment, sorted({flag for flags in known.values() for flag in flags}))
    taken, refused = set(), {}
    for name, flags in known.items():
        for flag, action in flags.items():
            for value, where in (
                (settings.get(flag), f"{file}: {flag}"),
                (settings.get(name, {}).get(flag), f"{file}: {flag} of [{name}]"),
                (variable(flag, environment), f"the environment variable {PREFIX}{flag.upper()}"),
            ):
                if value is None:
                    continue
                try:
                    set_default(parser.commands[name], action, flag, parsed(action, value, where))
                    taken.add(where)
                except UsageError as error:
                    refused[where] = error
    for where, refusal in refused.items():
        if where not in taken:  # by no command: what one takes, another may not have, as quantize types of floats
            raise refusal


def variable(flag: str, environment: Mapping[str, str]) -> str | None:
    """What the environment says of a flag."""
    return None if flag in OTHER_VARIABLES else environment.get(f"{PREFIX}{flag.upper()}")


def flags_of(command: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """A command's flags by their long names, without dashes."""
    return {
        spelling.lstrip("-"): action
        for action in command._actions
        for spelling in action.option_strings
        if spelling.startswith("--") and spelling.lstrip("-") not in WITHOUT_PRESET
    }


def read_settings(file: Path) -> dict[str, Any]:
    """The file's content, {} where there is none. Raises `UsageError` where it is no TOML."""
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}.") from None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is no TOML: {error}.") from None


def require_known(settings: dict[str, Any], known: dict[str, dict[str, argparse.Action]], file: str) -> None:
    """Raise `UsageError` for a name that is no flag, or a table that is no command."""
    every_flag = {flag for flags in known.values() for flag in flags}
    for name, value in settings.items():
        if name in known and isinstance(value, dict):
            for flag in value:
                if flag not in known[name]:
                    raise UsageError(f"{file}: {flag} is no flag of {name}{nearest(flag, list(known[name]))}.")
        elif name not in every_flag or isinstance(value, dict):
            kind = "command" if isinstance(value, dict) else "flag"
            names = list(known) if isinstance(value, dict) else sorted(every_flag)
            raise UsageError(f"{file}: {name} is no {kind}{nearest(name, names)}.")


def warn_of_unknown(environment: Mapping[str, str], flags: list[str]) -> None:
    """Say which variables are those of no flag: a misspelt one would do nothing."""
    for name in environment:
        flag = name.removeprefix(PREFIX).lower()
        if name.startswith(PREFIX) and flag not in flags and flag not in OTHER_VARIABLES:
            print(f"warning: the environment variable {name} is no flag's{nearest(flag, flags)}.", file=sys.stderr)


def parsed(action: argparse.Action, value: Any, where: str) -> Any:
    """A setting as its flag would give it. Raises `UsageError`."""
    text = str(value).strip() if not isinstance(value, list) else ",".join(map(str, value))
    if isinstance(action, argparse._StoreTrueAction):
        if text.lower() not in SWITCH_VALUES:
            raise UsageError(f"{where}: true or false is expected, not {text!r}.")
        return SWITCH_VALUES[text.lower()]
    try:
        result = action.type(text) if callable(action.type) else text
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}.") from None
    if action.choices is not None and result not in action.choices:
        raise UsageError(f"{where}: {result!r} is none of {', '.join(map(str, action.choices))}.")
    return result


def set_default(command: argparse.ArgumentParser, action: argparse.Action, flag: str, value: Any) -> None:
    """Let the flag have this value where the command line does not give it."""
    if flag == "path":  # the model may be named by position as well, which goes before it
        command.set_defaults(preset_path=value)
    else:
        action.default = value

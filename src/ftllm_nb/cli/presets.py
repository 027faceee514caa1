"""Defaults of flags that the user sets once: in config.toml, or by environment variables `FTLLM_NB_FLAG`.

A flag on the command line goes before a variable, and that before the file. In config.toml, a flag's name at the top is
for every command that has it, and one in a table is for the command of that name:

    threads = 4

    [chat]
    temperature = 0.7

What goes before takes the other's place: keys of a flag that may be repeated are not added to those of a variable.
docs/settings.md says how values are written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftllm_nb.cli.parser import CommandParser, nearest
from ftllm_nb.cli.preset_values import parsed, parsed_variable, read_toml
from ftllm_nb.errors import UsageError
from ftllm_nb.user_folders import config_folder

PREFIX = "FTLLM_NB_"
OWN_VARIABLES = {"cache_dir": "FASTLLM_CACHEDIR"}
"""Flags whose variable has another name."""
OTHER_VARIABLES = {"FTLLM_NB_CACHE_DIR", "FTLLM_NB_FETCH", "FTLLM_NB_TIER", "FTLLM_NB_UNCAPPED_THREADS"}
"""Variables with the prefix that are no flag's."""
WITHOUT_PRESET = ("help", "version")


@dataclass(frozen=True)
class Preset:
    """A flag's default from the user's settings; `where`: which of them said so; the highest `rank` counts."""

    flag: str
    value: Any
    where: str
    rank: int


def config_file() -> Path | None:
    """Where config.toml lies, or would; None where the user has no home."""
    folder = config_folder()
    return None if folder is None else folder / "config.toml"


def apply_presets(
    parser: CommandParser, environment: Mapping[str, str] | None = None, file: Path | None = None
) -> None:
    """Make the user's settings the defaults of the commands' flags. Raises `UsageError` for wrong ones.

    Parsed arguments get `presets`, by their names, and `unused_presets`, sentences for `warn_of_unused`.
    """
    environment = os.environ if environment is None else environment
    file = file or config_file()
    settings = {} if file is None else read_settings(file)
    known = {name: flags_of(command) for name, command in parser.commands.items()}
    require_known(settings, known, str(file))
    warn_of_unknown(environment, sorted({flag for flags in known.values() for flag in flags}))
    taken, refused = set(), {}
    for name, flags in known.items():
        presets: dict[str, Preset] = {}  # by what they set, which two flags may share
        unused = {}
        for flag, action in flags.items():
            sources = (
                (settings.get(flag), f"{file}: {flag}", parsed),
                (settings.get(name, {}).get(flag), f"{file}: {flag} of [{name}]", parsed),
                (environment.get(variable(flag)), f"the environment variable {variable(flag)}", parsed_variable),
            )
            for rank, (value, where, parse) in enumerate(sources):
                if value is None:
                    continue
                try:
                    preset = Preset(flag, parse(action, value, where), where, rank)
                    taken.add(where)
                    if action.dest not in presets or presets[action.dest].rank <= rank:
                        presets[action.dest] = preset
                except UsageError as error:
                    refused[where] = error
                    unused[flag] = str(error).rstrip(".")
        set_defaults(parser.commands[name], presets)
        parser.commands[name].set_defaults(presets=presets, unused_presets=unused)
    for where, refusal in refused.items():
        if where not in taken:  # by no command: what one takes, another may not have, as quantize types of floats
            raise refusal


def warn_of_unused(args: argparse.Namespace) -> None:
    """Say on stderr which settings other commands take and this one cannot."""
    for sentence in args.unused_presets.values():
        print(f"warning: {sentence}; {args.command} goes on without it.", file=sys.stderr)


def with_origin(args: argparse.Namespace, message: str) -> str:
    """An error's message, and where the flag that it is about comes from, if that is the user's settings."""
    for name, preset in args.presets.items():
        if name == "path":
            is_used = uses_preset_path(args)
        else:
            is_used = getattr(args, name, None) is preset.value  # the command line did not say something else
        value = preset.value if isinstance(preset.value, str) else ""
        if is_used and (f"--{preset.flag} " in f"{message} " or (len(value) > 1 and value in message)):
            return f"{message.rstrip('.')} (--{preset.flag} comes from {preset.where})."
    return message


def uses_preset_path(args: argparse.Namespace) -> bool:
    """Whether the command line leaves it to the settings which model it is."""
    return args.path is None and getattr(args, "positional_path", None) is None


def variable(flag: str) -> str:
    """The environment variable of a flag."""
    return OWN_VARIABLES.get(flag, f"{PREFIX}{flag.upper()}")


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
    return read_toml(text, str(file))


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
    known = {variable(flag) for flag in flags} | OTHER_VARIABLES
    for name in environment:
        if name.upper().startswith(PREFIX) and name not in known:
            meant = nearest(name.upper().removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in sorted(known)])
            meant = meant.replace("mean ", f"mean {PREFIX}")
            print(f"warning: the environment variable {name} is no flag's{meant}.", file=sys.stderr)


def set_defaults(command: argparse.ArgumentParser, presets: dict[str, Preset]) -> None:
    """Let flags have these values where the command line does not give them."""
    for action in command._actions:
        if action.dest == "path":
            continue  # the model may be named by position as well, which goes before it
        if action.dest in presets:
            action.default = presets[action.dest].value
            action.required = False
    if "path" in presets:
        command.set_defaults(preset_path=presets["path"].value)

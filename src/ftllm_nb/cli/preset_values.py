"""A flag's value from a setting: text from an environment variable, or what config.toml holds."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ftllm_nb.cli.value_types import ON_OR_OFF, AnyText, CommaSeparated, secret
from ftllm_nb.errors import UsageError

PLACES = ("PATH", "MODEL", "FILE", "FOLDER", "OUT")
"""What the metavars of flags that name files and folders are, or have for one of several words."""


def takes_path(action: argparse.Action) -> bool:
    """Whether a flag's value names a file or folder: a shell expands a ~ there, so settings do, too."""
    return isinstance(action.metavar, str) and not set(action.metavar.split("|")).isdisjoint(PLACES)


def read_toml(text: str, where: str) -> dict[str, Any]:
    """A text in TOML. Raises `UsageError` where it is none."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is no TOML: {error}.") from None


def parsed_variable(action: argparse.Action, text: str, where: str) -> Any:
    """`parsed` of an environment variable: one value, or for a flag of several also a list in TOML, ["a", "b"]."""
    is_list = takes_several(action) and text.lstrip().startswith("[")
    return parsed(action, read_toml(f"list = {text}", where)["list"] if is_list else text, where)


def takes_several(action: argparse.Action) -> bool:
    """Whether a list may be given."""
    return isinstance(action, argparse._AppendAction) or isinstance(action.type, CommaSeparated)


def parsed(action: argparse.Action, value: Any, where: str) -> Any:
    """What the flag would be if the command line gave it this value. Raises `UsageError` that begins with `where`."""
    if isinstance(value, list) and not takes_several(action):
        raise UsageError(f"{where}: one value is expected, not a list.")
    values = value if isinstance(value, list) else [value]
    if not values and action.type is secret:
        raise UsageError(f"{where}: the list holds no key: write one, or leave the setting out.")
    texts = [text_of(action, each, where) for each in values]
    if isinstance(action, argparse._AppendAction):
        return [one_value(action, text, where) for text in texts]
    return one_value(action, ",".join(texts), where)


def text_of(action: argparse.Action, value: Any, where: str) -> str:
    """What one would write on the command line."""
    if isinstance(value, (dict, list)):
        raise UsageError(f"{where}: a list of single values is expected." if takes_several(action) else
                         f"{where}: a single value is expected.")  # fmt: skip
    if not isinstance(value, str):
        is_text = action.nargs != 0 and action.choices is None
        is_text = is_text and (action.type in (None, secret) or isinstance(action.type, AnyText))
        if is_text:  # 1.10 would become 1.1
            raise UsageError(f'{where}: a text in quotes is expected, "…".')
        return str(value).lower() if isinstance(value, bool) else str(value)
    return os.path.expanduser(value) if takes_path(action) else value


def one_value(action: argparse.Action, text: str, where: str) -> Any:
    """What the flag's type makes of a text."""
    if isinstance(action, argparse._StoreTrueAction):
        if text and text.lower() not in ON_OR_OFF:
            raise UsageError(f"{where}: true or false is expected, not {text!r}.")
        return ON_OR_OFF.get(text.lower(), False)
    try:
        result = action.type(text) if callable(action.type) else text
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}.") from None
    if action.choices is not None and result not in action.choices:
        raise UsageError(f"{where}: {result!r} is none of {', '.join(map(str, action.choices))}.")
    return result

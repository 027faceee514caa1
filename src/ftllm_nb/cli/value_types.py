"""Types for argparse of values that are no numbers: switches, secrets, several values in one text."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ftllm_nb.cli.parser import one_of

ON_OR_OFF = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
"""What a switch may be set to, in lower case: on the command line, in settings, and after /set."""


class TrueOrFalse:
    """An argparse type: true or false, or another word of `ON_OR_OFF`."""

    def known(self) -> list[str]:
        """The words that shells complete."""
        return ["true", "false"]

    def __call__(self, text: str) -> bool:
        """What the word says. Raises `ArgumentTypeError` for another."""
        if text.lower() not in ON_OR_OFF:
            raise argparse.ArgumentTypeError(f"true or false is expected, not {text!r}")
        return ON_OR_OFF[text.lower()]


true_or_false = TrueOrFalse()


def secret(text: str) -> str:
    """An argparse type: a key that a request can show in a header. What is wrong with it is said without showing it."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the key is empty: write the key, or leave the setting out")
    if text != text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(
            "the key begins or ends with a space, or holds a control character, so that no request could show it"
        )
    return text


class OneOf:
    """An argparse type: a word of those that `known` gives when it is asked, since finding them may take an import.

    Shells complete them.
    """

    def __init__(self, known: Callable[[], list[str]]) -> None:
        self.known = known

    def __call__(self, text: str) -> str:
        """The text, if it is one of the words. Raises `ArgumentTypeError`, which names the nearest one."""
        return one_of(text, self.known())


class AnyText:
    """An argparse type: any text. Shells complete the words that `known` gives, which have a meaning of their own."""

    def __init__(self, known: Callable[[], list[str]]) -> None:
        self.known = known

    def __call__(self, text: str) -> str:
        """The text."""
        return text


class CommaSeparated:
    """An argparse type of several values with commas between them, which config.toml may give as a list.

    `known`: what a value may be, where that is a few words.
    """

    def __init__(self, parse: Callable[[str], Any], known: Callable[[], list[str]] | None = None) -> None:
        self.parse = parse
        self.known = known

    def __call__(self, text: str) -> Any:
        """What `parse` makes of the whole text; raises what it raises."""
        return self.parse(text)

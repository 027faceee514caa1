"""Entries of a config's section on quantization, each checked, with a sentence for what it cannot be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import CheckpointError


class Entries:
    """The section, and `where` it is: what the sentences of its errors begin with. null is what absent is."""

    def __init__(self, section: Mapping[str, Any], where: str) -> None:
        self.section = section
        self.where = where

    def __contains__(self, name: str) -> bool:
        return self.section.get(name) is not None

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        value = self.section.get(name)
        value = default if value is None else value
        if type(value) is not int:
            raise self.error(f"has the {name} {shown(value)}, but a whole number was expected")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        value = self.section.get(name)
        value = default if value is None else value
        if type(value) is not bool:
            raise self.error(f"has the {name} {shown(value)}, but true or false was expected")
        return value

    def one_of(self, name: str, known: Collection[str], default: str | None = None) -> str:
        """One of some words, in small letters."""
        value = self.section.get(name)
        value = default if value is None else value
        if not isinstance(value, str) or value.lower() not in known:
            raise self.error(f"has the {name} {shown(value)}; supported are {', '.join(known)}")
        return value.lower()

    def error(self, what: str) -> CheckpointError:
        """The error of the section."""
        return CheckpointError(f"{self.where} {what}.")

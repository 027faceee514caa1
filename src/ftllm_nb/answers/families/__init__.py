"""Families of models by how they write calls and thinking, one file each, found by its name.

A file defines `family`, a `Family` (see family.py); its name is what `--tool_call_parser` takes.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from ftllm_nb.answers.family import Family
from ftllm_nb.errors import UsageError

DEFAULT = "hermes"
"""For templates that say nothing of calls: most models that were taught calls later write them so."""


def family_names() -> list[str]:
    """The names of all families; nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@cache
def family_named(name: str) -> Family:
    """The family of that name; raises `UsageError` with those that there are."""
    if name not in family_names():
        near = difflib.get_close_matches(name, family_names(), 1, 0.4)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"{name!r} is no known form of calls; {meant}known are {', '.join(family_names())}.")
    family: Family = importlib.import_module(f"{__name__}.{name}").family
    family.name = name
    return family


def family_of(template: str) -> Family:
    """The family that a chat template's source belongs to: the one whose signs it has, of several the one with the most
    of them by length."""

    def weight(family: Family) -> int:
        found = [signs for signs in family.signs if all(sign in template for sign in signs)]
        hinted = bool(family.hint) and family.hint in template
        return max((sum(map(len, signs)) for signs in found), default=int(hinted))

    return max([family_named(DEFAULT), *map(family_named, family_names())], key=weight)

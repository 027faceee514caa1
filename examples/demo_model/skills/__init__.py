"""The demo model's skills: one file each, found by name.

A skill module has ``sample(random, held_out)``, which draws a conversation of one or more `Exchange`s; a
check grades the last. ``held_out=True`` draws only what ``held_out=False`` never draws: other contents (pairs
of numbers, words, names), or, where the contents are a closed list, other ways to ask.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from random import Random

from .common import Conversation

Sampler = Callable[[Random, bool], Conversation]
SUPPORT = {"common", "vocabulary"}


def load_skills() -> dict[str, Sampler]:
    """Every skill by its file's name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in SUPPORT)
    return {name: importlib.import_module(f"{__name__}.{name}").sample for name in names}

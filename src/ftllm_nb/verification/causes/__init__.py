"""What may be wrong where a graph and a reference part: a file each, found by its name.

A file has `RANK`, by which it is tried earlier or later, and `changes(ground)`, which yields what may have been meant.
A cause is named only where the place agrees with the change.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType


def causes() -> Iterator[ModuleType]:
    """The files, those that are tried first at first."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return iter(sorted(modules, key=lambda module: int(module.RANK)))

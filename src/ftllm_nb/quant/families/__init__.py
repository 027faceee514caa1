"""Families of weight formats, one file each: those whose formats differ in parameters alone.

A file holds `TYPES`, the types that `--dtype` takes, by name, and `make(name)`, which gives one's format. It imports
kernels in `make` alone, so that names are known before anything is compiled.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType


def families() -> Iterator[ModuleType]:
    """All families."""
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        yield importlib.import_module(f"{__name__}.{module.name}")

"""Families of weight formats, one file each: those whose formats differ in parameters alone.

A file holds `TYPES`, the types that `--dtype` takes, by name, and `make(name)`, which gives one's format. It imports
kernels in `make` alone, so that names are known before anything is compiled.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from types import ModuleType


@functools.cache
def families() -> tuple[ModuleType, ...]:
    """All families; asked for each matrix, several times, which need not look through the folder each time."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(importlib.import_module(f"{__name__}.{name}") for name in names)

"""Weight formats, one file each: how a matrix lies in memory, and the kernels that make it and multiply by it.

A file's name is the format's name, as `--dtype` takes it; the file holds one instance named `FORMAT`.
"""

from __future__ import annotations

import pkgutil


def weight_formats() -> list[str]:
    """The names of all formats; nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SHARED)


_SHARED = {"activations", "base", "floats", "integers", "stored"}
"""Modules of this folder that are no format."""

"""From floats to ggml's block types, one file for each family: how scales are chosen, and where bits lie in a block.

A file has `QUANTIZERS`, by the name that GGUF gives a type a function without arguments that makes
`quantize(floats, weights, along, spare, block)` for kernels: it writes the block of `columns` float32 at an address;
`weights` are float32 as many, which say how much each input counts, and `along` is as search.py has it. `spare` is
memory of SPARE_BYTES. It returns whether all scales fit float16.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any


@functools.cache
def quantizers() -> dict[str, Callable[[], Any]]:
    """All of them, by the names of types."""
    found: dict[str, Callable[[], Any]] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        found |= importlib.import_module(f"{__name__}.{module.name}").QUANTIZERS
    return found

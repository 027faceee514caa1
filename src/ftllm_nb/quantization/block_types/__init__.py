"""ggml's types as they are written: a file for each family, with `TYPES`, a tuple of `WrittenType` (base.py).

`--dtype` names a type in lower case. `rtn` rounds to the obvious scales, which a family's docstring names; the others
search (kernels/blocks/search.py).
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftllm_nb.quantization.block_types.base import WrittenType

_SHARED = {"base"}


@functools.cache
def written_types() -> dict[str, WrittenType]:
    """The types by the names that `--dtype` gives them ("q4_k")."""
    found: dict[str, WrittenType] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        if module.name not in _SHARED:
            for type in importlib.import_module(f"{__name__}.{module.name}").TYPES:
                found[type.name.lower()] = type
    return found

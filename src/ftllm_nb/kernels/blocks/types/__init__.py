"""Block types, one file each, with `TYPE`."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ftllm_nb.kernels.blocks.block_type import BlockType


@functools.cache
def block_types() -> dict[str, BlockType]:
    """All of them, by the names that GGUF gives them."""
    found: dict[str, BlockType] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
        type: BlockType = importlib.import_module(f"{__name__}.{module.name}").TYPE
        found[type.name] = type
    return found

"""Block types: files with `TYPES`, those that share their code."""

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
        types: tuple[BlockType, ...] = importlib.import_module(f"{__name__}.{module.name}").TYPES
        found |= {type.name: type for type in types}
    return found

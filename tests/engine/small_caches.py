"""Caches whose blocks are numbers and hold few positions."""

from __future__ import annotations

from itertools import count

from ftllm_nb.engine.block_pool import BlockPool
from ftllm_nb.engine.kv_cache import KVCache
from ftllm_nb.ops.reach import Reach

SIZE = 4
"""Positions of a block."""


def new_cache(
    *groups: Reach, limit: int | None = None, states: dict[str, tuple[int, ...]] | None = None
) -> KVCache:
    """Of groups of layers of these reaches, or one that sees all; `states`: shapes by name."""
    numbers = count(1)
    return KVCache(groups or (Reach(),), SIZE, BlockPool(lambda: [next(numbers)], limit), states)

"""Memory for blocks of the KV cache: slabs that are allocated as they are needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.engine.block_pool import CacheFullError
from ftllm_nb.host_memory import obtainable_bytes
from ftllm_nb.memory import SLAB_BYTES, Slabs

_BLOCKS_AT_ONCE = 4096
"""Blocks that are made together at most: those of a graph without attention are tiny."""


class BlockMemory:
    """Makes blocks of `size` bytes; a block is its address, a multiple of 64."""

    def __init__(self, size: int) -> None:
        self.block_bytes = max(size, 64)
        self._memory = Slabs()
        self._slabs: list[NDArray[np.uint8]] = []

    def grow(self) -> list[int]:
        """New blocks, at least one. Raises `CacheFullError` where memory is out."""
        count = min(_BLOCKS_AT_ONCE, max(1, SLAB_BYTES // self.block_bytes))
        obtainable = obtainable_bytes()
        if obtainable is not None:  # beyond it the system ends the process, where it has promised the memory
            count = min(count, obtainable // self.block_bytes)
        slab = None
        while slab is None:
            if not count:
                raise CacheFullError(
                    f"there is no memory for {shown_bytes(self.block_bytes)} more of KV cache: close other programs, "
                    "raise the limit of memory, or give --kv_cache_dtype int8 or int4."
                )
            try:
                slab = self._memory.take(count * self.block_bytes)
            except MemoryError:
                count //= 2
        self._slabs.append(slab)
        first = int(slab.ctypes.data)
        return [first + index * self.block_bytes for index in range(count)]

    def give_back(self) -> None:
        """Give all memory back to the system: no block may be in use."""
        self._memory, self._slabs = Slabs(), []

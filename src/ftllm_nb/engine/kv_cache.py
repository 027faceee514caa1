"""The KV cache in blocks: each holds BLOCK_POSITIONS positions of one sequence, in all layers.

A sequence is a list of block addresses, so that it grows without being copied and blocks can be shared. Blocks
come from slabs that are allocated as they are needed; which of them are free is for `BlockPool` to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.engine.block_pool import BlockPool, CacheFullError
from ftllm_nb.errors import EngineError
from ftllm_nb.graph.ir import LayerCache
from ftllm_nb.host_memory import obtainable_bytes
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS, key_bytes, value_bytes
from ftllm_nb.kernels.matmul_tile import FLOAT16, FLOAT32, INT8
from ftllm_nb.memory import SLAB_BYTES, Slabs
from ftllm_nb.ops.lowering import CachePlaces

CACHE_KINDS = {"float16": FLOAT16, "float32": FLOAT32, "int8": INT8}
"""The types that `--kv_cache_dtype` takes."""
_BLOCKS_AT_ONCE = 4096
"""Blocks that are made together at most: those of a graph without attention are tiny."""


@dataclass(frozen=True)
class BlockLayout:
    """Where each layer's keys and values lie in a block; `size`: bytes of a block."""

    places: dict[int, CachePlaces]
    size: int


def plan_block(layers: Mapping[int, LayerCache], dtype: str) -> BlockLayout:
    """The layout of a block for these layers, with keys and values of type `dtype`."""
    kind = CACHE_KINDS[dtype]
    places: dict[int, CachePlaces] = {}
    offset = 0
    for layer, cache in layers.items():
        values = offset + cache.heads * key_bytes(kind, cache.key_dim)
        places[layer] = CachePlaces(offset, values, kind)
        offset = values + cache.heads * value_bytes(kind, cache.value_dim)
    return BlockLayout(places, -(-offset // 64) * 64)


class CachedSequence:
    """A sequence's blocks, by address, and how many of its tokens are in them."""

    def __init__(self, blocks: Sequence[int] = ()) -> None:
        self.length = len(blocks) * BLOCK_POSITIONS
        self.blocks: NDArray[np.int64] = np.array(blocks, np.int64)


class BlockMemory:
    """Makes blocks of one layout, and gives them to sequences; a block is its address."""

    def __init__(self, layout: BlockLayout) -> None:
        self.block_bytes = max(layout.size, 64)
        self.pool = BlockPool(self._grow)
        self._memory = Slabs()
        self._slabs: list[NDArray[np.uint8]] = []

    def reserve(self, sequence: CachedSequence, length: int) -> None:
        """Give the sequence blocks for `length` tokens. Raises `EngineError` when memory or the cache is full."""
        missing = -(-length // BLOCK_POSITIONS) - len(sequence.blocks)
        if missing <= 0:
            return
        added: list[int] = []
        try:
            while len(added) < missing:
                added.append(self.pool.take())
        except EngineError:
            self.pool.release(added)
            raise
        sequence.blocks = np.append(sequence.blocks, np.array(added, np.int64))

    def release(self, sequence: CachedSequence, length: int) -> None:
        """Take back the blocks beyond the first `length` tokens. Raises `EngineError` if that cuts a shared block."""
        if length % BLOCK_POSITIONS and not self.pool.is_writable(int(sequence.blocks[length // BLOCK_POSITIONS])):
            raise EngineError(f"a sequence cannot be cut to {length} tokens: others share the block.")
        kept = -(-length // BLOCK_POSITIONS)
        self.pool.release(sequence.blocks[kept:].tolist())
        sequence.blocks = sequence.blocks[:kept].copy()

    def give_back(self) -> None:
        """Give all memory back to the system, unless a block is in use."""
        if self.pool.forget_all():
            self._memory, self._slabs = Slabs(), []

    def _grow(self) -> list[int]:
        count = min(_BLOCKS_AT_ONCE, max(1, SLAB_BYTES // self.block_bytes))
        obtainable = obtainable_bytes()
        if obtainable is not None:  # beyond it the system ends the process, where it has promised the memory
            count = min(count, obtainable // self.block_bytes)
        slab = None
        while slab is None:
            if not count:
                raise CacheFullError(
                    f"there is no memory for {shown_bytes(self.block_bytes)} more of KV cache: close other programs, "
                    "raise the limit of memory, or give --kv_cache_dtype int8."
                )
            try:
                slab = self._memory.take(count * self.block_bytes)
            except MemoryError:
                count //= 2
        self._slabs.append(slab)
        first = int(slab.ctypes.data)
        return [first + index * self.block_bytes for index in range(count)]

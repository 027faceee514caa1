"""The KV cache in blocks: each holds BLOCK_POSITIONS positions of one sequence, in all layers.

A sequence is a list of block addresses, so that it grows without being copied and blocks can be shared. Blocks
come from slabs that are allocated as they are needed; a freed block is used again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.errors import EngineError
from ftllm_nb.graph.ir import LayerCache
from ftllm_nb.kernels.attention import BLOCK_POSITIONS, head_bytes, padded
from ftllm_nb.kernels.matmul_tile import FLOAT16, FLOAT32, INT8
from ftllm_nb.memory import SLAB_BYTES, Slabs
from ftllm_nb.ops.lowering import CachePlaces

CACHE_KINDS = {"float16": FLOAT16, "float32": FLOAT32, "int8": INT8}
"""The types that `--kv_cache_dtype` takes."""


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
        values = offset + cache.heads * head_bytes(kind, cache.key_dim)
        places[layer] = CachePlaces(offset, values, kind)
        offset = values + cache.heads * head_bytes(kind, padded(cache.value_dim))
    return BlockLayout(places, -(-offset // 64) * 64)


class CachedSequence:
    """A sequence's blocks and how many of its tokens are in them."""

    def __init__(self) -> None:
        self.length = 0
        self.blocks: NDArray[np.int64] = np.empty(0, np.int64)
        self.is_free = False


class BlockPool:
    """Allocates blocks of one layout."""

    def __init__(self, layout: BlockLayout) -> None:
        self._size = max(layout.size, 64)
        self._memory = Slabs()
        self._slabs: list[NDArray[np.uint8]] = []
        self._free: list[int] = []
        self._allocated = 0

    def reserve(self, sequence: CachedSequence, length: int) -> None:
        """Give the sequence blocks for `length` tokens. Raises `EngineError` when memory is out."""
        missing = -(-length // BLOCK_POSITIONS) - len(sequence.blocks)
        if missing > 0:
            added = [self._take() for _ in range(missing)]
            sequence.blocks = np.append(sequence.blocks, np.array(added, np.int64))

    def release(self, sequence: CachedSequence, length: int) -> None:
        """Take back the blocks beyond the first `length` tokens."""
        kept = -(-length // BLOCK_POSITIONS)
        self._free.extend(int(address) for address in sequence.blocks[kept:])
        sequence.blocks = sequence.blocks[:kept].copy()

    def give_back(self) -> None:
        """Give all memory back to the system, unless a block is in use."""
        if len(self._free) == self._allocated:
            self._memory, self._slabs, self._free, self._allocated = Slabs(), [], [], 0

    def _take(self) -> int:
        if not self._free:
            count = max(1, SLAB_BYTES // self._size)
            try:
                slab = self._memory.take(count * self._size)
            except MemoryError as error:
                raise EngineError(
                    f"no memory for {count * self._size >> 20} MB more of KV cache; use a shorter context, or "
                    "--kv_cache_dtype int8"
                ) from error
            self._slabs.append(slab)
            self._allocated += count
            first = int(slab.ctypes.data)
            self._free.extend(first + index * self._size for index in reversed(range(count)))
        return self._free.pop()

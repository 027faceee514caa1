"""Memory of the KV cache: it grows within what the system grants, and is given back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ftllm_nb.engine import block_memory
from ftllm_nb.engine.block_memory import BlockMemory
from ftllm_nb.engine.block_pool import CacheFullError


def test_the_cache_grows_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system grants more than a control group may hold, and ends who writes there; address space it refuses."""
    room = 5 << 20
    monkeypatch.setattr(block_memory, "obtainable_bytes", lambda: room)
    memory = BlockMemory(1 << 20)
    blocks = memory.grow()
    assert len(blocks) == 5 and all(block % 64 == 0 for block in blocks)
    assert all(abs(one - other) >= 1 << 20 for one in blocks for other in blocks if one != other)
    room = (1 << 20) - 1
    with pytest.raises(CacheFullError, match=r"no memory for 1\.0 MB more of KV cache: .* raise the limit of memory"):
        memory.grow()
    room = 64 << 20
    taken: list[int] = []

    def take(size: int) -> np.ndarray:
        taken.append(size >> 20)
        if size > 10 << 20:
            raise MemoryError
        return np.zeros(size, np.uint8)

    monkeypatch.setattr(memory._memory, "take", take)
    assert len(memory.grow()) == 8 and taken == [64, 32, 16, 8]


def test_no_memory_is_said_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(size: int) -> Any:
        raise MemoryError

    memory = BlockMemory(1 << 20)
    monkeypatch.setattr(memory._memory, "take", none)
    with pytest.raises(CacheFullError, match="close other programs"):
        memory.grow()


def test_tiny_blocks_are_made_by_the_thousand_and_not_by_the_million() -> None:
    memory = BlockMemory(0)
    assert len(memory.grow()) < 10_000
    assert memory._slabs[0].nbytes <= block_memory.SLAB_BYTES
    memory.give_back()
    assert not memory._slabs

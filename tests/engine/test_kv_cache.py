"""The cache's blocks: where layers lie in them, how sequences get them and give them back, and a full cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftllm_nb.engine import kv_cache
from ftllm_nb.engine.compiled_executor import CompiledExecutor
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.kv_cache import CACHE_KINDS, BlockLayout, BlockMemory, CachedSequence, plan_block
from ftllm_nb.errors import EngineError
from ftllm_nb.graph.ir import LayerCache, Value
from ftllm_nb.graph.types import Symbol, TensorType
from ftllm_nb.kernels.cache_layout import BLOCK_POSITIONS
from tests.engine.test_weight_loading import TIED, checkpoint_of, described

BYTES = {"float16": 2, "float32": 4, "int8": 1}


def layer(number: int, heads: int, key_dim: int, value_dim: int) -> LayerCache:
    key, value = (
        Value(f"{name}.{number}", TensorType((Symbol.CACHED, heads, dim)), "input")
        for name, dim in (("pastKey", key_dim), ("pastValue", value_dim))
    )
    return LayerCache(number, key, value)


layers = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 70), st.integers(1, 70)), max_size=5)


@settings(deadline=None)
@given(layers, st.sampled_from(sorted(CACHE_KINDS)))
def test_keys_and_values_of_all_layers_lie_apart(shapes: list[tuple[int, int, int]], dtype: str) -> None:
    """Of a head's values the dim is padded to a multiple of 16, in int8 that of its keys, too; int8 has scales."""
    layout = plan_block({3 * n: layer(3 * n, *shape) for n, shape in enumerate(shapes)}, dtype)
    scales = 4 * BLOCK_POSITIONS if dtype == "int8" else 0
    end = 0
    for number, (heads, key_dim, value_dim) in enumerate(shapes):
        places = layout.places[3 * number]
        assert places.kind == CACHE_KINDS[dtype]
        assert places.keys == end
        columns = -(-key_dim // 16) * 16 if dtype == "int8" else key_dim
        assert places.values == end + heads * (BLOCK_POSITIONS * columns * BYTES[dtype] + scales)
        padded = -(-value_dim // 16) * 16
        end = places.values + heads * (BLOCK_POSITIONS * padded * BYTES[dtype] + scales)
        assert places.keys % 64 == places.values % 64 == 0, "vectors are loaded from there"
    assert end <= layout.size < end + 64 and layout.size % 64 == 0


def test_the_cache_grows_within_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system grants more than a control group may hold, and ends who writes there; address space it refuses."""
    room = 5 << 20
    monkeypatch.setattr(kv_cache, "obtainable_bytes", lambda: room)
    memory, sequence = BlockMemory(BlockLayout({}, 1 << 20)), CachedSequence()
    memory.reserve(sequence, 5 * BLOCK_POSITIONS)
    assert len(sequence.blocks) == 5
    room = (1 << 20) - 1
    with pytest.raises(EngineError, match=r"no memory for 1\.0 MB more of KV cache: .* raise the limit of memory"):
        memory.reserve(sequence, 6 * BLOCK_POSITIONS)
    room = 64 << 20
    taken: list[int] = []

    def take(size: int) -> np.ndarray:
        taken.append(size >> 20)
        if size > 10 << 20:
            raise MemoryError
        return np.zeros(size, np.uint8)

    monkeypatch.setattr(memory._memory, "take", take)
    memory.reserve(sequence, 6 * BLOCK_POSITIONS)
    assert taken == [64, 32, 16, 8] and len(sequence.blocks) == 6


def test_lengths_blocks_and_what_is_given_back() -> None:
    memory = BlockMemory(BlockLayout({}, 1 << 20))
    first, second = CachedSequence(), CachedSequence()
    memory.reserve(first, 2 * BLOCK_POSITIONS + 1)
    memory.reserve(second, 1)
    assert len(first.blocks) == 3 and len(second.blocks) == 1
    memory.reserve(first, 3 * BLOCK_POSITIONS)
    assert len(first.blocks) == 3, "the last block has room"
    given_out = {*first.blocks.tolist(), *second.blocks.tolist()}
    assert len(given_out) == 4 and all(block % 64 == 0 for block in given_out)
    assert all(abs(a - b) >= 1 << 20 for a in given_out for b in given_out if a != b)
    memory.release(first, BLOCK_POSITIONS)
    assert len(first.blocks) == 1 and memory.pool.counts.used == 2
    memory.release(first, 0)
    memory.release(second, 0)
    assert memory.pool.counts.used == 0


def test_a_sequence_that_gets_no_block_keeps_what_it_has() -> None:
    memory = BlockMemory(BlockLayout({}, 64))
    memory.pool.limit = 3
    sequence = CachedSequence()
    memory.reserve(sequence, 2 * BLOCK_POSITIONS)
    before = sequence.blocks.tolist()
    with pytest.raises(EngineError, match="the KV cache is full"):
        memory.reserve(sequence, 4 * BLOCK_POSITIONS)
    assert sequence.blocks.tolist() == before and memory.pool.counts.used == 2
    memory.reserve(sequence, 3 * BLOCK_POSITIONS)


def test_no_memory_is_said_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(size: int) -> Any:
        raise MemoryError

    memory = BlockMemory(BlockLayout({}, 1 << 20))
    monkeypatch.setattr(memory._memory, "take", none)
    with pytest.raises(EngineError):
        memory.reserve(CachedSequence(), 1)


def test_memory_is_given_back_only_where_nobody_uses_it() -> None:
    memory = BlockMemory(BlockLayout({}, 1 << 20))
    sequence = CachedSequence()
    memory.reserve(sequence, 1)
    memory.give_back()
    assert memory._slabs, "a block is in use"
    memory.release(sequence, 0)
    memory.give_back()
    assert not memory._slabs
    memory.reserve(sequence, 1)
    assert len(sequence.blocks) == 1


def test_tiny_blocks_are_made_by_the_thousand_and_not_by_the_million() -> None:
    memory = BlockMemory(BlockLayout({}, 0))
    memory.reserve(CachedSequence(), 1)
    assert len(memory.pool._free) < 10_000
    assert memory._slabs[0].nbytes <= kv_cache.SLAB_BYTES


def test_a_cut_through_a_shared_block_is_refused_and_changes_nothing() -> None:
    checkpoint = checkpoint_of({**TIED, "max_position_embeddings": 512})
    executor = CompiledExecutor(described(checkpoint), checkpoint, threads=1)
    try:
        sequence = executor.new_sequence()
        ids = np.arange(100, dtype=np.int32)
        executor.run([SequenceStep(sequence, ids)])
        blocks = executor.blocks_of(sequence)
        executor.pool.publish(blocks[0], b"key")
        for length in (10, -1, 101):
            with pytest.raises(EngineError, match="cannot be cut to"):
                executor.truncate(sequence, length)
            assert sequence.length == 100 and executor.blocks_of(sequence) == blocks
        executor.truncate(sequence, 64)
        assert sequence.length == 64 and executor.blocks_of(sequence) == blocks[:1]
        executor.free_sequence(sequence)
        assert executor.pool.counts.used == 0 and executor.pool.counts.kept == 1
    finally:
        executor.close()

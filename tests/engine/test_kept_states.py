"""Which states sequences keep, what gives way where memory is short, and what others find."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from ftllm_nb.engine import kept_states
from ftllm_nb.engine.block_pool import BlockPool, CacheFullError
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.kv_cache import KVCache
from ftllm_nb.engine.saved_states import LEAST_KEPT
from ftllm_nb.ops.reach import Reach
from tests.engine.small_caches import SIZE, new_cache


def run(cache: KVCache, sequence: CachedSequence, count: int = 1) -> None:
    """A step that gives the sequence so many tokens."""
    cache.advance(sequence, count, cache.states.to_write([(sequence, count)])[0])


def test_states_on_the_way_are_thinned_out_where_they_outweigh_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_states, "MOST_BYTES", 0)
    cache = new_cache(states={"sum": (2,)})
    cache.states.spacing = SIZE
    sequence = cache.new_sequence()
    cache.save(sequence, 10)
    for length in range(1, 100 * SIZE + 1):
        cache.reserve(sequence, length)
        run(cache, sequence)
    lengths = sorted(sequence.snapshots)
    assert 10 in lengths and len(lengths) == LEAST_KEPT + 1 and cache.can_cut(sequence, 100 * SIZE)
    assert max(np.diff([0, *lengths])) <= 20 * SIZE


def test_states_have_their_share_of_a_limit_and_give_way_in_order() -> None:
    cache = new_cache(states={"sum": (16,)})
    memory = cache.states.memory
    assert memory.limit_share(1000, 1) == 1000 - 7 * 64 and memory.most_sequences == 3
    assert memory.limit_share(10**12, 2) == 10**12 - (5 + (256 << 20) // 64) * 64
    with pytest.raises(CacheFullError, match=r"a cache of 383 bytes is too small .* need 192 bytes"):
        memory.limit_share(383, 1)
    assert memory.limit_share(384, 1) == 192 and memory.limit == 3
    cache.states.spacing = SIZE
    sequence = cache.new_sequence()
    for length in range(1, 9 * SIZE):
        cache.reserve(sequence, length)
        run(cache, sequence)
        if length % SIZE == 0:
            cache.publish(sequence, [bytes([number]) for number in range(length // SIZE)], 0)
    assert memory.made_bytes == 3 * 64
    other = cache.new_sequence()
    with pytest.raises(CacheFullError, match="states of recurrent layers take all of their share"):
        held = [cache.states.take(other), cache.states.take(other)]
    memory.limit = 4
    cache.reserve(sequence, 9 * SIZE)
    run(cache, sequence)
    assert cache.can_cut(sequence, 9 * SIZE) and list(sequence.snapshots) == [9 * SIZE]
    cache.reserve(sequence, 9 * SIZE + 1)
    run(cache, sequence)
    held = [cache.states.take(other), cache.states.take(other)]
    assert not sequence.snapshots and memory.made_bytes == len(held) * 64 + 2 * 64


def test_without_states_a_limit_is_all_for_blocks() -> None:
    memory = new_cache().states.memory
    assert memory.limit_share(5, 1) == 5 and memory.most_sequences is None


def test_states_that_one_passes_and_another_keeps_stay() -> None:
    cache = new_cache(limit=100, states={"sum": (2,)})
    keys = [bytes([number]) for number in range(4)]
    passing, keeping = cache.new_sequence(), cache.new_sequence()
    cache.save(keeping, SIZE)
    for sequence in (passing, keeping):
        cache.reserve(sequence, SIZE)
        run(cache, sequence, SIZE)
        cache.publish(sequence, keys[:1], 0)
    for number in (2, 3):
        cache.reserve(passing, number * SIZE)
        run(cache, passing, SIZE)
        cache.publish(passing, keys[:number], number - 1)
    assert cache.find(keys[:2]).length == SIZE, "what the other kept"
    assert cache.find(keys).length == 3 * SIZE, "the last that passed"


def test_a_step_passes_lengths_whose_states_stay() -> None:
    cache = new_cache(limit=100, states={"sum": (2,)})
    cache.states.saves_within_steps, cache.states.spacing = True, 2 * SIZE
    sequence, keys = cache.new_sequence(), [bytes([number]) for number in range(5)]
    cache.save(sequence, 10)
    assert cache.states.most_at_once(sequence, 20) == 20
    cache.reserve(sequence, 20)
    run(cache, sequence, 20)
    assert sorted(sequence.snapshots) == [8, 10, 16]
    cache.publish(sequence, keys, 0)
    assert not sequence.passed and [cache.find(keys[:count]).length for count in (1, 3, 4, 5)] == [0, 8, 16, 20]


def test_where_no_memory_is_left_fewer_states_are_kept_and_it_is_said_once() -> None:
    cache, told = new_cache(states={"sum": (2,)}), list[str]()
    cache.states.saves_within_steps, cache.states.spacing, cache.states.tell = True, SIZE, told.append
    sequence, memory = cache.new_sequence(), cache.states.memory
    memory.limit = 5
    for _ in range(3):
        cache.reserve(sequence, sequence.length + 3 * SIZE)
        run(cache, sequence, 3 * SIZE)
        assert memory.made_bytes <= memory.limit * memory.slot_bytes
    assert sequence.length == 9 * SIZE and max(sequence.snapshots) == 9 * SIZE and 0 < len(sequence.snapshots) < 9
    assert len(told) == 1 and told[0].startswith("the limit of the KV cache is too small for all states of recurrent")


def test_what_goes_for_newer_prompts_under_a_limit_is_not_worth_saying() -> None:
    cache, told = new_cache(limit=100, states={"sum": (2,)}), list[str]()
    cache.states.spacing, cache.states.tell, cache.states.memory.limit = SIZE, told.append, 5
    for number in range(6):
        sequence = cache.new_sequence()
        sequence.is_cut_back = False
        cache.reserve(sequence, SIZE)
        run(cache, sequence, SIZE)
        cache.publish(sequence, [bytes([number])], 0)
        cache.free(sequence)
    assert not told and cache.find([bytes([5])]).length == SIZE


def test_a_limit_with_room_for_no_kept_states_is_said_once() -> None:
    cache, told = new_cache(limit=100, states={"sum": (2,)}), list[str]()
    cache.states.spacing, cache.states.tell, cache.states.memory.limit = SIZE, told.append, 3
    sequence = cache.new_sequence()
    sequence.is_cut_back = False
    for number in range(3):
        cache.reserve(sequence, sequence.length + SIZE)
        run(cache, sequence, SIZE)
        cache.publish(sequence, [bytes([each]) for each in range(number + 1)], number)
    assert len(told) == 1 and told[0].startswith("the limit of the KV cache is too small for all states of recurrent")


def test_what_a_window_sees_from_kept_states_stays_as_long_as_they_do() -> None:
    cache = new_cache(Reach(window=6), states={"sum": (2,)})
    cache.states.spacing, sequence = 4 * SIZE, cache.new_sequence()
    for length in range(1, 100):
        cache.reserve(sequence, length)
        run(cache, sequence)
    assert sorted(sequence.snapshots) == [16, 32, 48, 64, 80, 96]
    # Of 16 positions the last six, from 10 on, are seen by the token at 15; that at 16 sees those from 11 on.
    assert sorted(sequence.retained[0]) == [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22]
    assert cache.pool.counts.used == 11 + len(sequence.tables[0]) - sequence.held[0]
    del sequence.snapshots[48], sequence.snapshots[64]
    for length in range(100, 112):
        cache.reserve(sequence, length)
        run(cache, sequence)
    assert sorted(sequence.retained[0]) == [2, 3, 6, 7, 18, 19, 22, 23] and not cache.can_cut(sequence, 64)
    seen = [sequence.retained[0][number] for number in (6, 7)]
    cache.truncate(sequence, 32)
    assert sequence.tables[0].tolist()[6:] == seen and sorted(sequence.retained[0]) == [2, 3]
    cache.free(sequence)
    assert not cache.pool.counts.used


def test_what_windows_see_counts_with_the_states_that_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_states, "MOST_BYTES", 0)
    kept = []
    for reaches in ((Reach(), Reach()), (Reach(), Reach(window=20))):
        numbers = count(1)
        cache = KVCache(reaches, SIZE, BlockPool(lambda: [next(numbers)]), {"sum": (16,)}, block_bytes=32)  # noqa: B023
        cache.states.spacing, sequence = SIZE, cache.new_sequence()
        for length in range(1, 64 * SIZE + 1):
            cache.reserve(sequence, length)
            run(cache, sequence)
        kept.append(len(sequence.snapshots))
    # 64 · 64 bytes of keys and values; a state has 64 bytes, and a window is seen in 6 blocks at most.
    assert kept == [64, 64 * 64 // (64 + 6 * 32)]

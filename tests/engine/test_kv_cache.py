"""What sequences have of the cache, give back, share and find again, against the tokens that blocks should hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ftllm_nb.engine.block_pool import chained_key
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.kv_cache import GONE, MOST_SAVED, KVCache
from ftllm_nb.errors import EngineError
from ftllm_nb.ops.reach import Reach
from tests.engine.paged_executor import is_writable
from tests.engine.small_caches import SIZE, new_cache

reaches = st.lists(
    st.one_of(
        st.just(Reach()),
        st.builds(Reach, window=st.integers(1, 14)),
        st.builds(Reach, chunk=st.integers(1, 14)),
    ),
    min_size=1,
    max_size=3,
)


def state_of(tokens: list[int]) -> dict[str, np.ndarray]:
    """What depends on all tokens, so that no other sequence's will do."""
    return {"sum": np.float32([sum(tokens), sum(n * token for n, token in enumerate(tokens))])}


class CacheMachine(RuleBasedStateMachine):
    """Sequences grow, are cut, end, and begin with what is found; `content` is what each block was last given."""

    @initialize(
        groups=reaches, limit=st.sampled_from([None, 1000, 1000]), has_state=st.booleans(), passes=st.booleans()
    )
    def start(self, groups: list[Reach], limit: int | None, has_state: bool, passes: bool) -> None:
        self.groups = groups
        self.cache = new_cache(*groups, limit=limit, states={"sum": (2,)} if has_state else {})
        self.cache.states.saves_within_steps = passes
        if passes:
            self.cache.states.spacing = SIZE
        self.content: dict[int, tuple[int, tuple[int, ...]]] = {}
        self.live: list[tuple[CachedSequence, list[int]]] = []

    def keys(self, tokens: list[int]) -> list[bytes]:
        keys: list[bytes] = []
        for begin in range(0, len(tokens) - SIZE + 1, SIZE):
            keys.append(chained_key(keys[-1] if keys else b"", tokens[begin : begin + SIZE]))
        return keys

    @rule(tokens=st.lists(st.integers(0, 1), max_size=30))
    def begin(self, tokens: list[int]) -> None:
        sequence = self.cache.find(self.keys(tokens))
        assert sequence.length % SIZE == 0 and sequence.length <= len(tokens)
        self.live.append((sequence, tokens[: sequence.length]))
        self.check_what_is_seen(*self.live[-1])

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9), tokens=st.lists(st.integers(0, 1), min_size=1, max_size=9), publish=st.booleans())
    def grow(self, which: int, tokens: list[int], publish: bool) -> None:
        sequence, held = self.live[which % len(self.live)]
        tokens = tokens[: self.cache.states.most_at_once(sequence, len(tokens))]
        lengths = list(self.cache.states.to_write([(sequence, len(tokens))])[0])
        self.cache.reserve(sequence, len(held) + len(tokens))
        first = len(held) // SIZE
        held += tokens
        self.cache.advance(sequence, len(tokens), {at: state_of(held[:at]) for at in lengths})
        for group, table in enumerate(sequence.tables):
            for number in range(first, len(table)):
                block = int(table[number])
                assert block != GONE and is_writable(self.cache.pool, block)
                self.content[block] = (group, tuple(held[: (number + 1) * SIZE]))
        if publish:
            self.cache.publish(sequence, self.keys(held), first)
        self.check_what_is_seen(sequence, held)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9), share=st.floats(0, 1))
    def cut(self, which: int, share: float) -> None:
        sequence, held = self.live[which % len(self.live)]
        length = int(len(held) * share)
        before = [table.tolist() for table in sequence.tables]
        if not self.cache.can_cut(sequence, length):
            with pytest.raises(EngineError, match="cannot be cut"):
                self.cache.truncate(sequence, length)
            assert [table.tolist() for table in sequence.tables] == before
            return
        self.cache.truncate(sequence, length)
        del held[length:]
        self.check_what_is_seen(sequence, held)

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9), ahead=st.integers(0, 20))
    def save(self, which: int, ahead: int) -> None:
        sequence, held = self.live[which % len(self.live)]
        self.cache.save(sequence, len(held) + ahead)

    @invariant()
    def what_was_saved_can_be_gone_back_to(self) -> None:
        for sequence, held in getattr(self, "live", []):
            assert len(sequence.saved) <= MOST_SAVED
            for length in sequence.saved:
                if length <= len(held):
                    shared = [table[length // SIZE] for table in sequence.tables if length % SIZE]
                    shared += [retained.get(length // SIZE) for retained in sequence.retained if length % SIZE]
                    alone = all(self.cache.pool.is_alone(block) for block in shared if block not in (GONE, None))
                    assert self.cache.can_cut(sequence, length) == alone

    @precondition(lambda self: self.live)
    @rule(which=st.integers(0, 9))
    def end(self, which: int) -> None:
        sequence, _ = self.live.pop(which % len(self.live))
        self.cache.free(sequence)
        assert sequence.length == 0 and all(len(table) == 0 for table in sequence.tables)

    def check_what_is_seen(self, sequence: CachedSequence, held: list[int]) -> None:
        """The next token finds in each group all that it sees, and the state."""
        assert sequence.length == len(held)
        if self.cache.states.exist:
            np.testing.assert_array_equal(sequence.states["sum"], state_of(held)["sum"])
        for group, reach in enumerate(self.groups):
            for number in range(reach.first_seen(len(held)) // SIZE, -(-len(held) // SIZE)):
                its_group, tokens = self.content[int(sequence.tables[group][number])]
                rest = tuple(held[: (number + 1) * SIZE])
                assert its_group == group and tokens[: len(rest)] == rest

    @invariant()
    def blocks_are_counted(self) -> None:
        if hasattr(self, "live"):
            held = {int(block) for sequence, _ in self.live for table in sequence.tables for block in table}
            held |= {block for sequence, _ in self.live for each in sequence.retained for block in each.values()}
            counts = self.cache.pool.counts
            assert counts.used == len(held - {GONE})
            assert self.cache.pool.limit is not None or counts.kept <= counts.used

    @invariant()
    def everyone_still_sees(self) -> None:
        for sequence, held in getattr(self, "live", []):
            self.check_what_is_seen(sequence, held)


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)


def filled(cache: KVCache, tokens: int, at_once: int = 1) -> CachedSequence:
    """A sequence of so many tokens that was published as it grew."""
    sequence = cache.new_sequence()
    keys = [bytes([number]) for number in range(tokens // SIZE)]
    while sequence.length < tokens:
        length = min(tokens, sequence.length + at_once)
        cache.reserve(sequence, length)
        first, sequence.length = sequence.length // SIZE, length
        cache.publish(sequence, keys[: length // SIZE], first)
    return sequence


def test_a_sequence_grows_block_by_block_and_gives_them_back() -> None:
    cache = new_cache()
    first, second = filled(cache, 2 * SIZE + 1), filled(cache, 1)
    assert len(first.tables[0]) == 3 and cache.missing_blocks(first, SIZE - 1) == 0
    assert cache.missing_blocks(first, SIZE) == 1
    cache.reserve(first, 3 * SIZE)
    assert len(first.tables[0]) == 3, "the last block has room"
    assert len({*first.tables[0].tolist(), *second.tables[0].tolist()}) == 4
    cache.truncate(first, SIZE)
    assert len(first.tables[0]) == 1 and cache.pool.counts.used == 2
    cache.free(first)
    cache.free(second)
    assert cache.pool.counts.used == 0


def test_a_sequence_that_gets_no_block_keeps_what_it_has() -> None:
    cache = new_cache(Reach(), Reach(window=9), limit=6)
    sequence = filled(cache, 2 * SIZE, SIZE)
    before = [table.tolist() for table in sequence.tables]
    with pytest.raises(EngineError, match="the KV cache is full"):
        cache.reserve(sequence, 4 * SIZE)
    assert [table.tolist() for table in sequence.tables] == before and cache.pool.counts.used == 4
    cache.reserve(sequence, 3 * SIZE)


@pytest.mark.parametrize("limit", [None, 1000])
def test_a_window_gives_back_what_is_out_of_sight(limit: int | None) -> None:
    cache = new_cache(Reach(), Reach(window=6), limit=limit)
    sequence = filled(cache, 40 * SIZE)
    whole, window = sequence.tables
    assert len(whole) == len(window) == 40 and GONE not in whole
    # The last token, at 159, was run when those from 154 on were seen: 38 blocks are gone.
    assert sequence.held == [0, 38] and np.all(window[:38] == GONE) and GONE not in window[38:]
    counts = cache.pool.counts
    assert counts.used == 40 + 2 and counts.kept == (0 if limit is None else 38)
    assert cache.most_blocks(40 * SIZE, 1) == 40 + 3 and cache.most_blocks(SIZE, 1) == 2


def test_a_window_can_be_cut_back_as_far_as_it_is_held() -> None:
    cache = new_cache(Reach(window=6))
    sequence = filled(cache, 30)
    assert sequence.held == [6]
    assert cache.can_cut(sequence, 29) and not cache.can_cut(sequence, 28) and cache.can_cut(sequence, 0)
    with pytest.raises(EngineError, match=r"30 tokens cannot be cut to 20: .* what it saw there is given back"):
        cache.truncate(sequence, 20)
    for length in (-1, 31):
        with pytest.raises(EngineError, match="cannot be cut"):
            cache.truncate(sequence, length)
    cache.truncate(sequence, 29)
    assert sequence.length == 29


@pytest.mark.parametrize("limit", [None, 1000])
def test_a_sequence_is_cut_back_to_what_was_saved(limit: int | None) -> None:
    cache = new_cache(Reach(), Reach(window=6), limit=limit)
    sequence, keys = cache.new_sequence(), [bytes([number]) for number in range(20)]
    saved = [3, 18, 30, 31]
    for length in range(1, 60):
        cache.reserve(sequence, length)
        if length - 1 in saved:
            cache.save(sequence, length - 1)
        sequence.length = length
        cache.publish(sequence, keys[: length // SIZE], (length - 1) // SIZE)
    assert cache.pool.counts.kept == (0 if limit is None else 13 - len([0, 3, 4, 6, 7]))
    reached = [length for length in range(56) if cache.can_cut(sequence, length)]
    # From the lengths beside those that were saved the same blocks are seen.
    assert set(saved) < set(reached) and not {8, 12, 36, 40, 48, 50} & set(reached)
    window = sequence.tables[1].copy()
    cache.truncate(sequence, 30)
    assert sequence.saved == [3, 18, 30] and len(sequence.tables[1]) == 8 and GONE not in sequence.tables[1][6:]
    assert np.all(window == GONE) or GONE in sequence.tables[1][:6]
    cache.truncate(sequence, 3)
    cache.free(sequence)
    assert cache.pool.counts.used == 0 and sequence.retained == [{}, {}]


def test_few_lengths_are_saved() -> None:
    cache = new_cache(Reach(window=6))
    sequence = cache.new_sequence()
    for length in range(100):
        cache.reserve(sequence, length + 1)
        cache.save(sequence, length)
        sequence.length = length + 1
    assert sequence.saved == list(range(100 - MOST_SAVED, 100))
    assert cache.pool.counts.used <= 5
    plain = new_cache()
    plain.save(filled(plain, 9), 5)
    assert plain.can_cut(filled(plain, 9), 5), "without a window nothing has to be saved"


def test_a_cut_inside_a_shared_block_is_refused_and_one_inside_ones_own_withdraws_it() -> None:
    cache = new_cache(limit=100)
    sequence = filled(cache, 3 * SIZE)
    other = cache.find([bytes([0]), bytes([1])])
    assert other.length == 2 * SIZE
    before = sequence.tables[0].tolist()
    with pytest.raises(EngineError, match="others share a block"):
        cache.truncate(sequence, SIZE + 1)
    assert sequence.tables[0].tolist() == before
    cache.truncate(sequence, 2 * SIZE + 1)
    assert is_writable(cache.pool, before[2])
    cache.free(other)
    cache.truncate(sequence, SIZE + 1)
    assert is_writable(cache.pool, before[1]) and not is_writable(cache.pool, before[0])


@pytest.mark.parametrize("groups", [(Reach(),), (Reach(), Reach(window=9)), (Reach(window=9),), (Reach(chunk=8),)])
def test_as_many_tokens_as_fit(groups: tuple[Reach, ...]) -> None:
    cache = new_cache(*groups)
    for blocks in range(60):
        most = cache.most_tokens(blocks, at_once=3, longest=101)
        assert cache.most_blocks(most, 3) <= blocks
        assert most == 101 or (most % SIZE == 0 and cache.most_blocks(most + 1, 3) > blocks)


@pytest.mark.parametrize("at_once", [1, 3, 20])
@pytest.mark.parametrize("reach", [Reach(), Reach(window=1), Reach(window=7), Reach(chunk=6), Reach(window=3, chunk=8)])
def test_no_sequence_holds_more_than_was_said(reach: Reach, at_once: int) -> None:
    cache = new_cache(reach)
    sequence = cache.new_sequence()
    while sequence.length < 100:
        cache.reserve(sequence, sequence.length + at_once)
        sequence.length += at_once
        assert cache.pool.counts.used <= cache.most_blocks(sequence.length, at_once)
        assert cache.blocks_to_come(sequence, sequence.length, at_once) >= 0


@pytest.mark.parametrize("window, chunk", [(0, 0), (1, 0), (5, 0), (0, 3), (4, 6)])
def test_a_reach_is_what_attention_sees(window: int, chunk: int) -> None:
    from ftllm_nb.ops.fused_attention import visible_keys

    reach = Reach(window, chunk)
    for position in range(20):
        seen = visible_keys(position, 1, window, chunk)[0]
        assert reach.first_seen(position) == int(seen.argmax())
    for other in (Reach(), Reach(7), Reach(window, chunk), Reach(chunk=4)):
        united = reach.united(other)
        for position in range(30):
            assert united.first_seen(position) <= min(reach.first_seen(position), other.first_seen(position))

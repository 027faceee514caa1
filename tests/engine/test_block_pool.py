"""The pool of cache blocks against a plain model of it: references, prefixes, eviction order, the limit."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from ftllm_nb.engine.block_pool import BlockPool, CacheFullError, chained_key
from tests.engine.paged_executor import is_writable


def key(tokens: tuple[int, ...]) -> bytes:
    """The key of a block that ends a sequence of one-token blocks."""
    last = b""
    for token in tokens:
        last = chained_key(last, [token])
    return last


class PoolMachine(RuleBasedStateMachine):
    """Sequences of one-token blocks come, share, grow and go; `owner` says what each block should hold."""

    sequences = Bundle("sequences")

    @initialize(limit=st.one_of(st.none(), st.integers(0, 12)), memory=st.integers(0, 14))
    def start(self, limit: int | None, memory: int) -> None:
        numbers = count()

        def grow() -> list[int]:
            first = next(numbers)
            if first >= memory:
                raise CacheFullError("no memory")
            return [first]

        self.pool = BlockPool(grow, limit)
        self.limit = limit
        self.most = memory if limit is None else min(limit, memory)
        self.live: list[dict[str, list[int]]] = []
        self.kept: list[tuple[tuple[int, ...], int]] = []
        self.published: dict[tuple[int, ...], int] = {}

    @rule(target=sequences, tokens=st.lists(st.integers(0, 1), max_size=6))
    def begin(self, tokens: list[int]) -> dict[str, list[int]]:
        """A new sequence gets the longest published beginning of `tokens`."""
        prefixes = [tuple(tokens[: end + 1]) for end in range(len(tokens))]
        known = self.pool.known(map(key, prefixes))
        found = self.pool.acquire(map(key, prefixes[:known]))
        expected = []
        for prefix in prefixes:
            if prefix not in self.published:
                break
            expected.append(self.published[prefix])
        assert found == expected
        self.kept = [entry for entry in self.kept if entry[1] not in found]
        sequence = {"tokens": tokens[: len(found)], "blocks": found}
        self.live.append(sequence)
        return sequence

    @rule(sequence=sequences, token=st.integers(0, 1), publish=st.booleans())
    def grow(self, sequence: dict[str, list[int]], token: int, publish: bool) -> None:
        if len(sequence["blocks"]) != len(sequence["tokens"]):
            return
        used = {block for each in self.live for block in each["blocks"]}
        try:
            block = self.pool.take()
        except CacheFullError:
            assert len(used) >= self.most
            return
        assert block not in used
        kept = {block for _, block in self.kept}
        if block in kept:
            assert self.kept[0][1] == block, "the block that was left longest ago is evicted first"
            del self.published[self.kept.pop(0)[0]]
        sequence["tokens"].append(token)
        sequence["blocks"].append(block)
        prefix = tuple(sequence["tokens"])
        assert is_writable(self.pool, block)
        if publish:
            self.pool.publish(block, key(prefix))
            self.published.setdefault(prefix, block)
        assert is_writable(self.pool, block) == (block not in self.published.values())

    @rule(sequence=consumes(sequences))
    def end(self, sequence: dict[str, list[int]]) -> None:
        self.live = [each for each in self.live if each is not sequence]
        self.pool.release(sequence["blocks"])
        still_used = {block for each in self.live for block in each["blocks"]}
        by_block = {block: prefix for prefix, block in self.published.items()}
        for block in reversed(sequence["blocks"]):
            if block in by_block and block not in still_used:
                self.kept.append((by_block[block], block))
        while self.limit is None and len(self.kept) > len(still_used):
            del self.published[self.kept.pop(0)[0]]

    @invariant()
    def counts_hold(self) -> None:
        counts = self.pool.counts
        assert counts.used == len({block for each in self.live for block in each["blocks"]})
        assert counts.kept == len(self.kept)
        assert counts.used + counts.kept <= self.most

    def teardown(self) -> None:
        for sequence in getattr(self, "live", []):
            self.pool.release(sequence["blocks"])
        if hasattr(self, "pool"):
            assert self.pool.counts.used == 0


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_memory_that_ends_before_the_limit_evicts_what_is_kept() -> None:
    numbers = iter([0])

    def grow() -> list[int]:
        try:
            return [next(numbers)]
        except StopIteration:
            raise CacheFullError("no memory") from None

    pool = BlockPool(grow, limit=10)
    block = pool.take()
    pool.publish(block, b"k")
    with pytest.raises(CacheFullError):
        pool.take()
    pool.release([block])
    assert pool.take() == block
    assert pool.known([b"k"]) == 0
    assert pool.counts.evicted == 1


def test_keys_depend_on_everything_before() -> None:
    assert chained_key(b"", [1, 2]) != chained_key(b"", [2, 1])
    assert key((1, 2)) != key((2,)) != key((2, 2))
    assert chained_key(b"", [1, 2]) == chained_key(b"", (1, 2))


def test_a_published_block_is_written_by_nobody_until_it_is_withdrawn() -> None:
    pool = BlockPool(lambda: [1])
    block = pool.take()
    assert is_writable(pool, block)
    pool.publish(block, b"k")
    assert not is_writable(pool, block) and pool.is_alone(block)
    assert pool.known([b"k", b"unknown"]) == 1
    assert pool.acquire([b"k"]) == [block]
    assert not pool.is_alone(block)
    pool.release([block])
    assert pool.counts.used == 1 and not is_writable(pool, block)
    pool.withdraw(block)
    assert is_writable(pool, block) and pool.known([b"k"]) == 0
    pool.withdraw(block)

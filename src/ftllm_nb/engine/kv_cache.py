"""What all sequences keep: which blocks and states each has, what it gives back as it goes on, and what is found again.

A sequence has one table of blocks for each group of layers (cache_groups.py), so that it grows without being copied and
blocks can be shared. A group whose layers see a window gives back what is out of sight, but for what is seen from a few
saved lengths, to which the sequence can be cut back. Full blocks are published under a key that stands for all tokens
from the sequence's beginning to the block's end; a sequence that begins alike takes them over, as far as every group
still has what its next token sees.

States of recurrent layers are kept beside the blocks (kept_states.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ftllm_nb.engine.block_pool import BlockPool
from ftllm_nb.engine.cache_groups import held_blocks
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.kept_states import KeptStates
from ftllm_nb.engine.saved_states import States
from ftllm_nb.errors import EngineError
from ftllm_nb.ops.reach import Reach

GONE = 0
"""Stands in a table for a block that was given back."""
_FAR = 1 << 40
"""A length beyond any window."""
MOST_SAVED = 8
"""Lengths to which a sequence can be cut back at most: each keeps a window's blocks."""


class KVCache:
    """Blocks and states for sequences. `reaches`: of each group of layers; `block_positions`: positions of a block;
    `state_shapes`: of what operators keep of a sequence, by name; `block_bytes`: memory of a block of each group;
    `halved_states`: those that are float16."""

    def __init__(
        self,
        reaches: Sequence[Reach],
        block_positions: int,
        pool: BlockPool,
        state_shapes: Mapping[str, tuple[int, ...]] | None = None,
        block_bytes: int = 0,
        halved_states: Collection[str] = (),
    ) -> None:
        self.pool = pool
        self.block_positions = block_positions
        self._reaches = tuple(reaches)
        self._limited = [(group, reach) for group, reach in enumerate(reaches) if reach.is_limited]
        bytes_of_position = len(self._reaches) * block_bytes / block_positions
        seen = sum(held_blocks(reach, _FAR, block_positions) for _, reach in self._limited) * block_bytes
        self.states = KeptStates(state_shapes or {}, halved_states, block_positions, bytes_of_position, seen)

    def new_sequence(self) -> CachedSequence:
        """An empty sequence."""
        sequence = CachedSequence(len(self._reaches))
        self.states.begin(sequence)
        return sequence

    def advance(self, sequence: CachedSequence, count: int, states: Mapping[int, States]) -> None:
        """The sequence has `count` tokens more. `states`: by its length, those after them, and of lengths that it
        passed."""
        sequence.length += count
        self.states.advance(sequence, states)

    def forget_all(self) -> bool:
        """Know nothing any more that others could find; False, and no change, where a sequence has a block."""
        if not self.pool.forget_all():
            return False
        self.states.forget_all()
        return True

    def missing_blocks(self, sequence: CachedSequence, count: int) -> int:
        """How many blocks `reserve` takes for `count` more tokens, as far as nothing goes out of sight first."""
        needed = -(-(sequence.length + count) // self.block_positions)
        return sum(max(0, needed - len(table)) for table in sequence.tables)

    def most_blocks(self, length: int, at_once: int) -> int:
        """Most blocks that a sequence holds on its way to `length` tokens, `at_once` in a step."""
        return sum(held_blocks(reach, length, self.block_positions, at_once) for reach in self._reaches)

    def blocks_to_come(self, sequence: CachedSequence, length: int, at_once: int) -> int:
        """How many more blocks it takes at most on its way to `length` tokens, `at_once` in a step."""
        held = sum(len(table) - held for table, held in zip(sequence.tables, sequence.held, strict=True))
        return max(0, self.most_blocks(length, at_once) - held)

    def most_tokens(self, blocks: int, at_once: int, longest: int) -> int:
        """The most tokens, up to `longest`, that a sequence of so many blocks reaches; a multiple of a block unless it
        is `longest`."""
        if self.most_blocks(longest, at_once) <= blocks:
            return longest
        low, high = 0, -(-longest // self.block_positions)  # what fits, and what does not
        while high - low > 1:
            middle = (low + high) // 2
            if self.most_blocks(middle * self.block_positions, at_once) <= blocks:
                low = middle
            else:
                high = middle
        return low * self.block_positions

    def reserve(self, sequence: CachedSequence, length: int) -> None:
        """Give the sequence blocks for `length` tokens, and take back what its next token does not see. Raises
        `EngineError`, and gives none, when memory or the cache is full."""
        self.give_back_unseen(sequence)
        needed = -(-length // self.block_positions)
        missing = [max(0, needed - len(table)) for table in sequence.tables]
        if not any(missing):
            return
        added: list[int] = []
        try:
            while len(added) < sum(missing):
                added.append(self.pool.take())
        except EngineError:
            self.pool.release(added)
            raise
        for group, count in enumerate(missing):
            own, added = added[:count], added[count:]
            sequence.tables[group] = np.append(sequence.tables[group], np.array(own, np.int64))

    def save(self, sequence: CachedSequence, length: int) -> None:
        """Let the sequence be cut back to `length`, which it has now or may reach, as long as few lengths are saved
        after it."""
        if (self._limited or self.states.exist) and length not in sequence.saved:
            sequence.saved.append(length)
            del sequence.saved[:-MOST_SAVED]
            self.states.save(sequence, length)
            self._release_all_retained(sequence)

    def give_back_unseen(self, sequence: CachedSequence) -> None:
        """Take back the blocks that no further token sees, and that are not seen from a length to which the sequence
        can be cut back. They can be found again where the pool has a limit, until their place is needed."""
        for group, reach in self._limited:
            first, held = self._first(reach, sequence.length), sequence.held[group]
            if first <= held:
                continue
            table = sequence.tables[group]
            sequence.retained[group] |= dict(enumerate(table[held:first].tolist(), held))
            self._release_retained(sequence, group, reach)
            table[held:first] = GONE
            sequence.held[group] = first

    def can_cut(self, sequence: CachedSequence, length: int) -> bool:
        """Whether `truncate` can forget the tokens from `length` on."""
        if not 0 <= length <= sequence.length or not self.states.can_cut(sequence, length):
            return False
        kept = -(-length // self.block_positions)
        for group, reach in enumerate(self._reaches):
            table, held, retained = sequence.tables[group], sequence.held[group], sequence.retained[group]
            if not all(number in retained for number in range(self._first(reach, length), min(held, kept))):
                return False
            if length % self.block_positions:
                last = retained[kept - 1] if kept <= held else int(table[kept - 1])
                if not self.pool.is_alone(last):
                    return False
        return True

    def truncate(self, sequence: CachedSequence, length: int) -> None:
        """Forget the tokens from `length` on. Raises `EngineError`, and changes nothing, where others share a block
        that this cuts, or what the token at `length` needs was given back."""
        if not self.can_cut(sequence, length):
            why = "others share a block, or what it saw there is given back"
            if not 0 <= length <= sequence.length:
                why = "it is not as long"
            raise EngineError(f"a sequence of {sequence.length} tokens cannot be cut to {length}: {why}.")
        kept = -(-length // self.block_positions)
        for group, reach in enumerate(self._reaches):
            table, held, retained = sequence.tables[group], sequence.held[group], sequence.retained[group]
            self.pool.release(table[max(kept, held) :].tolist())
            table = table[:kept].copy()
            first = min(held, kept, self._first(reach, length))
            for number in range(first, min(held, kept)):
                table[number] = retained.pop(number)
            sequence.tables[group], sequence.held[group] = table, first
            if length % self.block_positions:
                self.pool.withdraw(int(table[-1]))  # it is about to be written
        self.states.cut(sequence, length)
        sequence.length = length
        sequence.saved = [saved for saved in sequence.saved if saved <= length]
        self._release_all_retained(sequence)

    def free(self, sequence: CachedSequence) -> None:
        """Give all its blocks back; it is empty then."""
        self.truncate(sequence, 0)

    def publish(self, sequence: CachedSequence, keys: Sequence[bytes], first: int) -> None:
        """Let others find the full blocks from number `first` on; `keys`: of all full blocks from the beginning."""
        for group, table in enumerate(sequence.tables):
            for number in range(max(first, sequence.held[group]), len(keys)):
                self.pool.publish(int(table[number]), _group_key(keys[number], group))
        self.states.publish(sequence, keys)

    def find(self, keys: Sequence[bytes]) -> CachedSequence:
        """A sequence that has the longest beginning of `keys`' blocks from which it can go on."""
        unlimited = [group for group, reach in enumerate(self._reaches) if not reach.is_limited]
        count = len(keys)
        for group in unlimited:
            count = self.pool.known(_group_key(key, group) for key in keys[:count])
        while count and not self._can_begin(keys, count):
            count -= 1
        sequence = self.new_sequence()
        sequence.length = count * self.block_positions
        for group, reach in enumerate(self._reaches):
            first = self._first(reach, sequence.length)
            found = self.pool.acquire(_group_key(key, group) for key in keys[first:count])
            sequence.tables[group] = np.array([GONE] * first + found, np.int64)
            sequence.held[group] = first
        if count:
            self.states.find(sequence, keys[count - 1])
        return sequence

    def _can_begin(self, keys: Sequence[bytes], count: int) -> bool:
        """Whether what the token after `count` blocks needs is there, where that is not all that was before."""
        if not self.states.can_begin(keys[count - 1]):
            return False
        return all(self._is_saved(keys, group, reach, count) for group, reach in self._limited)

    def _is_saved(self, keys: Sequence[bytes], group: int, reach: Reach, count: int) -> bool:
        """Whether the group has what the token after `count` blocks sees."""
        wanted = keys[self._first(reach, count * self.block_positions) : count]
        return self.pool.known(_group_key(key, group) for key in wanted) == len(wanted)

    def _release_all_retained(self, sequence: CachedSequence) -> None:
        for group, reach in self._limited:
            self._release_retained(sequence, group, reach)

    def _release_retained(self, sequence: CachedSequence, group: int, reach: Reach) -> None:
        """Give back what is not seen from any length to which the sequence can be cut back, or may be once it is that
        long."""
        retained, seen = sequence.retained[group], set[int]()
        for length in (*sequence.saved, *sequence.snapshots):
            seen.update(range(self._first(reach, length), -(-length // self.block_positions)))
        self._give_back([retained.pop(number) for number in sorted(retained.keys() - seen)])

    def _give_back(self, blocks: list[int]) -> None:
        """Release blocks of a window's past; they stay to be found only where their number has a limit."""
        if self.pool.limit is None:
            for block in blocks:
                self.pool.withdraw(block)
        self.pool.release(blocks)

    def _first(self, reach: Reach, length: int) -> int:
        """The number of the first block that the token after `length` others sees; none where it sees itself alone."""
        return min(reach.first_seen(length) // self.block_positions, -(-length // self.block_positions))


def _group_key(key: bytes, group: int) -> bytes:
    return key + group.to_bytes(2, "little")

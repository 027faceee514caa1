"""What all sequences keep: which blocks and states each has, what it gives back as it goes on, and what is found again.

A sequence has one table of blocks for each group of layers (cache_groups.py), so that it grows without being copied and
blocks can be shared. A group whose layers see a window gives back what is out of sight, but for what is seen from a few
saved lengths, to which the sequence can be cut back. Full blocks are published under a key that stands for all tokens
from the sequence's beginning to the block's end; a sequence that begins alike takes them over, as far as every group
still has what its next token sees.

States have a fixed size and cannot be cut back: each step makes new ones, and those of saved lengths are retained, as
are those at every so many positions, `spacing`; as long as there is room for them, those of lengths that were saved
before, too. A step may pass such lengths: it leaves the states of each. Where a sequence is published as it reaches the
end of a block, its states are, too, so that one that begins alike goes on there: those of saved lengths and of the
spacing for long, of the others the last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.block_pool import BlockPool, CacheFullError
from ftllm_nb.engine.cache_groups import held_blocks
from ftllm_nb.engine.saved_states import LEAST_KEPT, MOST_BYTES, SavedStates, States, fewer_kept, state_spacing
from ftllm_nb.engine.state_memory import StateMemory, StateSlot
from ftllm_nb.errors import EngineError
from ftllm_nb.ops.reach import Reach

Blocks = NDArray[np.int64]

GONE = 0
"""Stands in a table for a block that was given back."""
_NO_STATES = StateSlot(0, {})
MOST_SAVED = 8
"""Lengths to which a sequence can be cut back at most: each keeps a window's blocks."""


class CachedSequence:
    """A sequence's place in the cache. `tables`: of each group, its blocks by position, `GONE` before `held`, the first
    that it still has. `saved`: lengths to which it can be cut back, the oldest first; `retained`: of each group, what
    is seen from there and went out of sight, by position. `states`: by name, never written again; `snapshots`: those of
    lengths to which it can be cut back; `passed`: those of ends of blocks within its last step, until they are
    published; `last_published`: the key of states that give way to the next ones.
    `is_cut_back`: whether it may be, but to nothing; a sequence that never is keeps no states of lengths."""

    def __init__(self, groups: int) -> None:
        self.length = 0
        self.tables: list[Blocks] = [np.empty(0, np.int64) for _ in range(groups)]
        self.held = [0] * groups
        self.saved: list[int] = []
        self.retained: list[dict[int, int]] = [{} for _ in range(groups)]
        self.states: States = {}
        self.snapshots: dict[int, States] = {}
        self.passed: dict[int, States] = {}
        self.last_published: bytes | None = None
        self.is_cut_back = True


class KVCache:
    """Blocks and states for sequences. `reaches`: of each group of layers; `block_positions`: positions of a block;
    `state_shapes`: of what operators keep of a sequence, by name; `block_bytes`: memory of a block of each group;
    `halved_states`: those that are float16. `saves_within_steps`: whether a step can pass lengths whose states stay, or
    has to end there; may be assigned. `tell`: called with a sentence that is worth saying once; may be assigned."""

    saves_within_steps = False

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
        self.state_memory = StateMemory(state_shapes or {}, halved_states)
        state_bytes = self.state_memory.slot_bytes
        self._bytes_of_position = len(self._reaches) * block_bytes / block_positions
        self.spacing = state_spacing(state_bytes, self._bytes_of_position, block_positions)
        self.tell: Callable[[str], None] = lambda sentence: None
        self._has_told = False
        self._sequences: WeakSet[CachedSequence] = WeakSet()
        self._published = SavedStates(max(MOST_BYTES, LEAST_KEPT * state_bytes))
        self._limited = [(group, reach) for group, reach in enumerate(reaches) if reach.is_limited]

    def new_sequence(self) -> CachedSequence:
        """An empty sequence."""
        sequence = CachedSequence(len(self._reaches))
        sequence.states = self._first_states()
        self._sequences.add(sequence)
        return sequence

    def _first_states(self) -> States:
        return self.state_memory.zeros() if self.has_states else _NO_STATES

    def take_states(self, sequence: CachedSequence) -> StateSlot:
        """States for a step of this sequence to write. Raises `CacheFullError` where memory is out, although all is
        forgotten that is only kept for others, or for sequences to be cut back to, this one first."""
        while self.has_states:
            try:
                return self.state_memory.take()
            except CacheFullError:
                if self._published.forget_oldest():
                    if self.state_memory.limit is None:
                        self._tell_of_fewer()
                    continue
                shortened = next((each for each in (sequence, *self._sequences) if each.snapshots), None)
                if shortened is None:
                    raise
                self._tell_of_fewer()
                del shortened.snapshots[min(shortened.snapshots)]
        return _NO_STATES

    def states_to_write(self, steps: Sequence[tuple[CachedSequence, int]]) -> list[dict[int, StateSlot]]:
        """States for a step to write, in which each sequence gets so many tokens: by its length then, ascending, those
        of lengths that stay on the way, as far as there is memory, and those after the step. Raises `CacheFullError`
        where there is none for these."""
        ends = [self.take_states(sequence) for sequence, _ in steps]
        slots: list[dict[int, StateSlot]] = []
        for (sequence, count), end in zip(steps, ends, strict=True):
            taken = {sequence.length + count: end}
            try:
                for length in self._passed_lengths(sequence, count):
                    taken[length] = self.take_states(sequence)
            except CacheFullError:
                self._tell_of_fewer()
            slots.append(dict(sorted(taken.items())))
        return slots

    def _passed_lengths(self, sequence: CachedSequence, count: int) -> list[int]:
        """The lengths whose states stay that a step of so many tokens passes, the last first."""
        if count == 1 or not self.has_states or not self.saves_within_steps:
            return []
        start, end = sequence.length, sequence.length + count
        spaced = range((start // self.spacing + 1) * self.spacing, end, self.spacing)
        return sorted({*spaced, *(saved for saved in sequence.saved if start < saved < end)}, reverse=True)

    def _tell_of_fewer(self) -> None:
        """Say once that states do not stay which should."""
        if not self._has_told:
            self._has_told = True
            self.tell(fewer_kept(self.state_memory.limit is not None))

    def most_at_once(self, sequence: CachedSequence, count: int) -> int:
        """How many of `count` tokens may come in one step: none beyond a length whose states stay, where a step cannot
        pass one."""
        if not self.has_states or self.saves_within_steps:
            return count
        return min(count, self.next_kept(sequence) - sequence.length)

    def next_kept(self, sequence: CachedSequence) -> int:
        """The next length whose states stay, as the sequence goes on."""
        ahead = [saved for saved in sequence.saved if saved > sequence.length]
        return min([(sequence.length // self.spacing + 1) * self.spacing, *ahead])

    def advance(self, sequence: CachedSequence, count: int, states: Mapping[int, States]) -> None:
        """The sequence has `count` tokens more. `states`: by its length, those after them, and of lengths that it
        passed."""
        sequence.length += count
        if not self.has_states:
            return
        sequence.states = states[sequence.length]
        kept = {length: each for length, each in states.items() if self._keeps_states(sequence, length)}
        sequence.passed = {
            length: each
            for length, each in kept.items()
            if length < sequence.length and length % self.block_positions == 0
        }
        if kept and sequence.is_cut_back:
            sequence.snapshots |= kept
            self._thin_out(sequence)

    def _thin_out(self, sequence: CachedSequence) -> None:
        """Where states of lengths that are not saved, or not any more, take more memory than keys and values, and more
        than a little, let those go between whose neighbours the least is computed again; first those that are not of
        the spacing, whose gaps would become longer than it."""
        if not self.has_states:
            return
        most_bytes = max(MOST_BYTES, sequence.length * self._bytes_of_position)
        most = max(LEAST_KEPT, int(most_bytes / self.state_memory.slot_bytes))
        lengths = [0, *sorted(length for length in sequence.snapshots if length not in sequence.saved)]
        while len(lengths) - 1 > most:
            inner = range(1, len(lengths) - 1)
            others = [each for each in inner if lengths[each] % self.spacing]
            number = min(others or inner, key=lambda each: lengths[each + 1] - lengths[each - 1])
            del sequence.snapshots[lengths.pop(number)]

    def _keeps_states(self, sequence: CachedSequence, length: int) -> bool:
        """Whether the states of this length stay."""
        return length in sequence.saved or length % self.spacing == 0

    @property
    def has_states(self) -> bool:
        """Whether sequences can go on only from where their states were kept."""
        return self.state_memory.slot_bytes > 0

    def forget_all(self) -> bool:
        """Know nothing any more that others could find; False, and no change, where a sequence has a block."""
        if not self.pool.forget_all():
            return False
        self._published.clear()
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
        if (self._limited or self.has_states) and length not in sequence.saved:
            sequence.saved.append(length)
            del sequence.saved[:-MOST_SAVED]
            self._release_retained(sequence)
            if length == sequence.length and sequence.is_cut_back:
                sequence.snapshots[length] = sequence.states
            self._thin_out(sequence)

    def give_back_unseen(self, sequence: CachedSequence) -> None:
        """Take back the blocks that no further token sees, and that are not seen from a saved length. They can be found
        again where the pool has a limit, until their place is needed."""
        for group, reach in self._limited:
            first, held = self._first(reach, sequence.length), sequence.held[group]
            if first <= held:
                continue
            table = sequence.tables[group]
            gone = []
            for number, block in enumerate(table[held:first].tolist(), held):
                if self._is_seen_from(sequence.saved, reach, number):
                    sequence.retained[group][number] = block
                else:
                    gone.append(block)
            self._give_back(gone)
            table[held:first] = GONE
            sequence.held[group] = first

    def can_cut(self, sequence: CachedSequence, length: int) -> bool:
        """Whether `truncate` can forget the tokens from `length` on."""
        if not 0 <= length <= sequence.length:
            return False
        if self.has_states and length not in (0, sequence.length, *sequence.snapshots):
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
        if length == 0:
            sequence.states = self._first_states()
        elif length < sequence.length and self.has_states:
            sequence.states = sequence.snapshots[length]
        sequence.length = length
        sequence.passed = {}
        sequence.saved = [saved for saved in sequence.saved if saved <= length]
        self._release_retained(sequence)

    def free(self, sequence: CachedSequence) -> None:
        """Give all its blocks back; it is empty then."""
        self.truncate(sequence, 0)

    def publish(self, sequence: CachedSequence, keys: Sequence[bytes], first: int) -> None:
        """Let others find the full blocks from number `first` on; `keys`: of all full blocks from the beginning."""
        for group, table in enumerate(sequence.tables):
            for number in range(max(first, sequence.held[group]), len(keys)):
                self.pool.publish(int(table[number]), _group_key(keys[number], group))
        if self.has_states:
            for length, states in (*sequence.passed.items(), (sequence.length, sequence.states)):
                if length and length % self.block_positions == 0:
                    self._publish_states(sequence, length, states, keys[length // self.block_positions - 1])
            sequence.passed = {}

    def _publish_states(self, sequence: CachedSequence, length: int, states: States, key: bytes) -> None:
        """Let others go on from where the sequence is, or was; of states that do not stay, the last."""
        passes = not self._keeps_states(sequence, length)
        is_new = self._published.put(key, states, passes)
        if not passes:
            return
        if sequence.last_published is not None:
            self._published.forget_passing(sequence.last_published)
        sequence.last_published = key if is_new else None

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
        if count and self.has_states:
            sequence.states = self._published.get(keys[count - 1])
        return sequence

    def _can_begin(self, keys: Sequence[bytes], count: int) -> bool:
        """Whether what the token after `count` blocks needs is there, where that is not all that was before."""
        if self.has_states and keys[count - 1] not in self._published:
            return False
        return all(self._is_saved(keys, group, reach, count) for group, reach in self._limited)

    def _is_saved(self, keys: Sequence[bytes], group: int, reach: Reach, count: int) -> bool:
        """Whether the group has what the token after `count` blocks sees."""
        wanted = keys[self._first(reach, count * self.block_positions) : count]
        return self.pool.known(_group_key(key, group) for key in wanted) == len(wanted)

    def _release_retained(self, sequence: CachedSequence) -> None:
        """Give back what no saved length sees any more."""
        for group, reach in self._limited:
            retained = sequence.retained[group]
            unseen = [number for number in retained if not self._is_seen_from(sequence.saved, reach, number)]
            self._give_back([retained.pop(number) for number in unseen])
        sequence.snapshots = {
            length: states for length, states in sequence.snapshots.items() if length <= sequence.length
        }

    def _give_back(self, blocks: list[int]) -> None:
        """Release blocks of a window's past; they stay to be found only where their number has a limit."""
        if self.pool.limit is None:
            for block in blocks:
                self.pool.withdraw(block)
        self.pool.release(blocks)

    def _is_seen_from(self, lengths: Sequence[int], reach: Reach, number: int) -> bool:
        """Whether block `number` is seen by the token that follows one of `lengths`."""
        return any(
            self._first(reach, length) <= number < -(-length // self.block_positions) for length in lengths
        )

    def _first(self, reach: Reach, length: int) -> int:
        """The number of the first block that the token after `length` others sees; none where it sees itself alone."""
        return min(reach.first_seen(length) // self.block_positions, -(-length // self.block_positions))


def _group_key(key: bytes, group: int) -> bytes:
    return key + group.to_bytes(2, "little")

"""Which states of recurrent layers sequences keep, and which others find.

States have a fixed size and cannot be cut back: each step makes new ones, and those of saved lengths are retained, as
are those at every so many positions, `spacing`; as long as there is room for them, those of lengths that were saved
before, too. A step may pass such lengths: it leaves the states of each. Where a sequence is published as it reaches the
end of a block, its states are, too, so that one that begins alike goes on there: those of saved lengths and of the
spacing for long, of the others the last.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from weakref import WeakSet

from ftllm_nb.engine.block_pool import CacheFullError
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.saved_states import LEAST_KEPT, MOST_BYTES, SavedStates, States, fewer_kept, state_spacing
from ftllm_nb.engine.state_memory import StateMemory, StateSlot

_NO_STATES = StateSlot(0, {})


class KeptStates:
    """States of sequences. `shapes`: of what operators keep of a sequence, by name; `halves`: those that are float16;
    `block_positions`: positions of a block; `bytes_of_position`: of keys and values; `bytes_seen`: of those that
    windows see from a length at most, which are kept with its states. `saves_within_steps`: whether a step can pass
    lengths whose states stay, or has to end there; may be assigned. `tell`: called with a sentence that is worth saying
    once; may be assigned."""

    saves_within_steps = False

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        halves: Collection[str],
        block_positions: int,
        bytes_of_position: float,
        bytes_seen: int = 0,
    ) -> None:
        self.memory = StateMemory(shapes, halves)
        self._bytes_kept = self.memory.slot_bytes + bytes_seen
        self._block_positions = block_positions
        self._bytes_of_position = bytes_of_position
        self.spacing = state_spacing(self.memory.slot_bytes, bytes_of_position, block_positions)
        self.tell: Callable[[str], None] = lambda sentence: None
        self._has_told = False
        self._sequences: WeakSet[CachedSequence] = WeakSet()
        self._published = SavedStates(max(MOST_BYTES, LEAST_KEPT * self.memory.slot_bytes))

    @property
    def exist(self) -> bool:
        """Whether sequences can go on only from where their states were kept."""
        return self.memory.slot_bytes > 0

    def begin(self, sequence: CachedSequence) -> None:
        """Give an empty sequence its states."""
        sequence.states = self.memory.zeros() if self.exist else _NO_STATES
        self._sequences.add(sequence)

    def take(self, sequence: CachedSequence) -> StateSlot:
        """States for a step of this sequence to write. Raises `CacheFullError` where memory is out, although all is
        forgotten that is only kept for others, or for sequences to be cut back to, this one first."""
        while self.exist:
            try:
                return self.memory.take()
            except CacheFullError:
                if self._published.forget_oldest():
                    if self.memory.limit is None or not self._keeps_any:
                        self._tell_of_fewer()
                    continue
                shortened = next((each for each in (sequence, *self._sequences) if each.snapshots), None)
                if shortened is None:
                    raise
                self._tell_of_fewer()
                del shortened.snapshots[min(shortened.snapshots)]
        return _NO_STATES

    @property
    def _keeps_any(self) -> bool:
        """Whether there is room for published states beside those that sequences have now: then, under a limit, it is
        the way of things that newer ones take the place of older ones."""
        return len(self._published) > sum(1 for each in self._sequences if each.length)

    def to_write(self, steps: Sequence[tuple[CachedSequence, int]]) -> list[dict[int, StateSlot]]:
        """States for a step to write, in which each sequence gets so many tokens: by its length then, ascending, those
        of lengths that stay on the way, as far as there is memory, and those after the step. Raises `CacheFullError`
        where there is none for these."""
        ends = [self.take(sequence) for sequence, _ in steps]
        slots: list[dict[int, StateSlot]] = []
        for (sequence, count), end in zip(steps, ends, strict=True):
            taken = {sequence.length + count: end}
            try:
                for length in self._passed_lengths(sequence, count):
                    taken[length] = self.take(sequence)
            except CacheFullError:
                self._tell_of_fewer()
            slots.append(dict(sorted(taken.items())))
        return slots

    def _passed_lengths(self, sequence: CachedSequence, count: int) -> list[int]:
        """The lengths whose states stay that a step of so many tokens passes, the last first."""
        if count == 1 or not self.exist or not self.saves_within_steps:
            return []
        start, end = sequence.length, sequence.length + count
        spaced = range((start // self.spacing + 1) * self.spacing, end, self.spacing)
        return sorted({*spaced, *(saved for saved in sequence.saved if start < saved < end)}, reverse=True)

    def _tell_of_fewer(self) -> None:
        """Say once that states do not stay which should."""
        if not self._has_told:
            self._has_told = True
            self.tell(fewer_kept(self.memory.limit is not None))

    def most_at_once(self, sequence: CachedSequence, count: int) -> int:
        """How many of `count` tokens may come in one step: none beyond a length whose states stay, where a step cannot
        pass one."""
        if not self.exist or self.saves_within_steps:
            return count
        return min(count, self.next_kept(sequence) - sequence.length)

    def next_kept(self, sequence: CachedSequence) -> int:
        """The next length whose states stay, as the sequence goes on."""
        ahead = [saved for saved in sequence.saved if saved > sequence.length]
        return min([(sequence.length // self.spacing + 1) * self.spacing, *ahead])

    def advance(self, sequence: CachedSequence, states: Mapping[int, States]) -> None:
        """The sequence has become longer. `states`: by its length, those of now, and of lengths that it passed."""
        if not self.exist:
            return
        sequence.states = states[sequence.length]
        kept = {length: each for length, each in states.items() if self._keeps(sequence, length)}
        sequence.passed = {
            length: each
            for length, each in kept.items()
            if length < sequence.length and length % self._block_positions == 0
        }
        if kept and sequence.is_cut_back:
            sequence.snapshots |= kept
            self._thin_out(sequence)

    def save(self, sequence: CachedSequence, length: int) -> None:
        """Keep the states of a length that was just saved."""
        if not self.exist:
            return
        if length == sequence.length and sequence.is_cut_back:
            sequence.snapshots[length] = sequence.states
        self._thin_out(sequence)

    def _thin_out(self, sequence: CachedSequence) -> None:
        """Where states of lengths that are not saved, or not any more, take more memory than keys and values, and more
        than a little, let those go between whose neighbours the least is computed again; first those that are not of
        the spacing, whose gaps would become longer than it."""
        most_bytes = max(MOST_BYTES, sequence.length * self._bytes_of_position)
        most = max(LEAST_KEPT, int(most_bytes / self._bytes_kept))
        lengths = [0, *sorted(length for length in sequence.snapshots if length not in sequence.saved)]
        while len(lengths) - 1 > most:
            inner = range(1, len(lengths) - 1)
            others = [each for each in inner if lengths[each] % self.spacing]
            number = min(others or inner, key=lambda each: lengths[each + 1] - lengths[each - 1])
            del sequence.snapshots[lengths.pop(number)]

    def _keeps(self, sequence: CachedSequence, length: int) -> bool:
        """Whether the states of this length stay."""
        return length in sequence.saved or length % self.spacing == 0

    def can_cut(self, sequence: CachedSequence, length: int) -> bool:
        """Whether there are states of this length."""
        return not self.exist or length in (0, sequence.length, *sequence.snapshots)

    def cut(self, sequence: CachedSequence, length: int) -> None:
        """Go back to the states of a length for which `can_cut` holds, before the sequence has it."""
        if length == 0:
            self.begin(sequence)
        elif length < sequence.length and self.exist:
            sequence.states = sequence.snapshots[length]
        sequence.passed = {}
        sequence.snapshots = {at: states for at, states in sequence.snapshots.items() if at <= length}

    def publish(self, sequence: CachedSequence, keys: Sequence[bytes]) -> None:
        """Let others go on from where the sequence is, and from where it passed; `keys`: of all its full blocks."""
        if not self.exist:
            return
        for length, states in (*sequence.passed.items(), (sequence.length, sequence.states)):
            if length and length % self._block_positions == 0:
                self._publish(sequence, length, states, keys[length // self._block_positions - 1])
        sequence.passed = {}

    def _publish(self, sequence: CachedSequence, length: int, states: States, key: bytes) -> None:
        """Let others go on from this length; of states that do not stay, the last."""
        passes = not self._keeps(sequence, length)
        is_new = self._published.put(key, states, passes)
        if not passes:
            return
        if sequence.last_published is not None:
            self._published.forget_passing(sequence.last_published)
        sequence.last_published = key if is_new else None

    def can_begin(self, key: bytes) -> bool:
        """Whether a sequence can go on from the block of this key."""
        return not self.exist or key in self._published

    def find(self, sequence: CachedSequence, key: bytes) -> None:
        """Give a new sequence the states after the block of this key, for which `can_begin` holds."""
        if self.exist:
            sequence.states = self._published.get(key)

    def forget_all(self) -> None:
        """Publish nothing any more."""
        self._published.clear()

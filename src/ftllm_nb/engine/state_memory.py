"""Memory for the states of sequences: one piece for all states of a sequence after a step.

A step reads the states that a sequence has and writes them anew into a piece of its own, in which they stay as they
are for as long as anybody keeps them: the sequence, what it may be cut back to, what others may go on from. So nothing
is ever copied to be kept, a step that is stopped has changed nothing, and a piece that nobody has any more is the next
one to be written, while it is still in the processor's caches.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.byte_sizes import shown_bytes
from ftllm_nb.engine.block_pool import CacheFullError
from ftllm_nb.engine.saved_states import LEAST_KEPT, MOST_BYTES
from ftllm_nb.host_memory import obtainable_bytes
from ftllm_nb.memory import ALIGNMENT, Slabs
from ftllm_nb.ops.lowering import StatePlace

Floats = NDArray[np.floating[Any]]

FEWEST_SLOTS = 3
"""With which a sequence can go on: what it has, what the step writes, and zeros."""


class StateSlot(dict[str, Floats]):
    """All states of a sequence, by name, views of one piece of memory that begins at `address`, float32 or float16. The
    memory is used again once nobody has the slot any more, whoever may still have a view."""

    def __init__(self, address: int, arrays: Mapping[str, Floats]) -> None:
        super().__init__(arrays)
        self.address = address


class StateMemory:
    """Makes slots for states of these shapes, by name, those of `halves` as float16. `places`: where each lies in a
    slot; `limit`: most slots, None for as many as there is memory for; may be assigned."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], halves: Collection[str] = ()) -> None:
        self._shapes = dict(shapes)
        self.places: dict[str, StatePlace] = {}
        self.slot_bytes = 0
        for name, shape in self._shapes.items():
            place = self.places[name] = StatePlace(self.slot_bytes, name in halves)
            self.slot_bytes += -(-_dtype(place).itemsize * math.prod(shape) // ALIGNMENT) * ALIGNMENT
        self.limit: int | None = None
        self._slabs = Slabs()
        self._free: list[NDArray[np.uint8]] = []
        self._made = 0
        self._zeros: StateSlot | None = None

    @property
    def made_bytes(self) -> int:
        """Memory of all slots, used or free."""
        return self._made * self.slot_bytes

    @property
    def used_bytes(self) -> int:
        """Memory of the slots that somebody has."""
        return (self._made - len(self._free)) * self.slot_bytes

    @property
    def most_sequences(self) -> int | None:
        """How many sequences a step can hold; None for as many as there is memory for."""
        return None if self.limit is None or not self.slot_bytes else (self.limit - 1) // 2

    def limit_share(self, limit: int, sequences: int) -> int:
        """Let slots take at most their share of a cache of `limit` bytes: half, or what so many sequences and saved
        states need where that is less. The bytes that are left. Raises `CacheFullError` where the share is too small.
        """
        if not self.slot_bytes:
            return limit
        wanted = (1 + 2 * sequences + max(LEAST_KEPT, MOST_BYTES // self.slot_bytes)) * self.slot_bytes
        slots = min(wanted, limit // 2) // self.slot_bytes
        if slots < FEWEST_SLOTS:
            raise CacheFullError(
                f"a cache of {limit} bytes is too small for recurrent layers, which have half of it and need "
                f"{FEWEST_SLOTS * self.slot_bytes} bytes to answer a request."
            )
        self.limit = slots
        return limit - slots * self.slot_bytes

    def zeros(self) -> StateSlot:
        """The states of a sequence that has no token yet: the same for all."""
        if self._zeros is None:
            self._zeros = self.take()
            for array in self._zeros.values():
                array.fill(0)
        return self._zeros

    def take(self) -> StateSlot:
        """A slot of its own, which holds anything. Raises `CacheFullError` where memory, or the limit, is out."""
        memory = self._free.pop() if self._free else self._new()
        arrays = {
            name: _floats(memory, self.places[name], shape)
            for name, shape in self._shapes.items()
        }
        slot = StateSlot(int(memory.ctypes.data), arrays)
        weakref.finalize(slot, self._free.append, memory).atexit = False
        return slot

    def give_back(self) -> None:
        """Give the memory of free slots back to the system, as far as nobody has a slot beside them."""
        self._made -= len(self._free)
        self._free.clear()
        self._slabs = Slabs()

    def _new(self) -> NDArray[np.uint8]:
        if self.limit is not None and self._made >= self.limit:
            raise CacheFullError("the cache is full: states of recurrent layers take all of their share.")
        obtainable = obtainable_bytes()
        try:
            if obtainable is not None and obtainable < self.slot_bytes:
                raise MemoryError
            memory = self._slabs.take(self.slot_bytes)
        except MemoryError:
            raise CacheFullError(
                f"there is no memory for {shown_bytes(self.slot_bytes)} more of recurrent states: close other "
                "programs, or answer fewer requests at once."
            ) from None
        self._made += 1
        return memory


def _dtype(place: StatePlace) -> np.dtype[Any]:
    return np.dtype(np.float16 if place.is_half else np.float32)


def _floats(memory: NDArray[np.uint8], place: StatePlace, shape: tuple[int, ...]) -> Floats:
    """A view of a slot's memory."""
    dtype = _dtype(place)
    floats: Floats = memory[place.offset :][: dtype.itemsize * math.prod(shape)].view(dtype).reshape(shape)
    return floats

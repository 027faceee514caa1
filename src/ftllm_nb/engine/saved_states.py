"""States of sequences at the ends of blocks, to be found by others that begin alike."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

States = Mapping[str, NDArray[np.floating[Any]]]
"""What operators keep of a sequence, by name. Never written again."""
MOST_BYTES = 256 << 20
"""Of all that are kept; those that were used longest ago go first."""
LEAST_KEPT = 8
"""How many are kept whatever their size."""
_MOST_SPACING = 1024
"""Positions between states where keys and values take little or nothing: an edit should not compute more again."""


class SavedStates:
    """States by the key of all tokens before them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._states: OrderedDict[bytes, States] = OrderedDict()
        self._passing: set[bytes] = set()
        self._bytes = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._states

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: bytes) -> States:
        """Those of a key that is there."""
        self._states.move_to_end(key)
        return self._states[key]

    def put(self, key: bytes, states: States, passes: bool = False) -> bool:
        """Keep states under a key; the first under a key stay, and then the answer is False. Those that pass are kept
        until `forget_passing`, unless somebody else puts the same to stay."""
        if not passes:
            self._passing.discard(key)
        if key in self._states:
            return False
        if passes:
            self._passing.add(key)
        self._states[key] = states
        self._bytes += _size(states)
        while self._bytes > self._most_bytes and len(self._states) > LEAST_KEPT:
            self.forget_oldest()
        return True

    def forget(self, key: bytes) -> None:
        """Keep them no longer; harmless where they are gone."""
        self._passing.discard(key)
        gone = self._states.pop(key, None)
        if gone is not None:
            self._bytes -= _size(gone)

    def forget_passing(self, key: bytes) -> None:
        """Keep them no longer, unless they stay."""
        if key in self._passing:
            self.forget(key)

    def forget_oldest(self) -> bool:
        """Forget those that were used longest ago; False where there are none."""
        if not self._states:
            return False
        self.forget(next(iter(self._states)))
        return True

    def clear(self) -> None:
        """Forget all."""
        self._states.clear()
        self._passing.clear()
        self._bytes = 0


def state_spacing(state_bytes: int, bytes_of_position: float, block_positions: int) -> int:
    """Positions, a multiple of a block, between states that are saved on the way: as many as take the memory of states,
    but not many more than `_MOST_SPACING`."""
    wanted = state_bytes / bytes_of_position if bytes_of_position else math.inf
    positions = min(wanted, max(_MOST_SPACING, 4 * block_positions))
    return max(1, math.ceil(positions / block_positions)) * block_positions


def fewer_kept(has_limit: bool) -> str:
    """The sentence on states that should be kept, where memory, or the cache's limit, is too small for them."""
    few, more = ("the limit of the KV cache", "allow it more") if has_limit else ("the memory", "close other programs")
    return (
        f"{few} is too small for all states of recurrent layers that should be kept: fewer are, so that more is "
        f"computed again where a conversation is edited or another one begins alike; {more}."
    )


def _size(states: States) -> int:
    return sum(array.nbytes for array in states.values())

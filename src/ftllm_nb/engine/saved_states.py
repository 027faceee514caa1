"""States of sequences at the ends of blocks, to be found by others that begin alike."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

States = dict[str, NDArray[np.float32]]
"""What operators keep of a sequence, by name. Never written again."""
MOST_BYTES = 256 << 20
"""Of all that are kept; those that were used longest ago go first."""


class SavedStates:
    """States by the key of all tokens before them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._states: OrderedDict[bytes, States] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._states

    def get(self, key: bytes) -> States:
        """Those of a key that is there."""
        self._states.move_to_end(key)
        return self._states[key]

    def put(self, key: bytes, states: States) -> None:
        """Keep states under a key; the first under a key stay."""
        if key in self._states:
            return
        self._states[key] = states
        self._bytes += _size(states)
        while self._bytes > self._most_bytes and len(self._states) > 1:
            _, gone = self._states.popitem(last=False)
            self._bytes -= _size(gone)

    def clear(self) -> None:
        """Forget all."""
        self._states.clear()
        self._bytes = 0


def _size(states: States) -> int:
    return sum(array.nbytes for array in states.values())

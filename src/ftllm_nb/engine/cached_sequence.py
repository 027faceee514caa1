"""What a sequence has in the cache: blocks, and states."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.saved_states import States

Blocks = NDArray[np.int64]


class CachedSequence:
    """A sequence's place in the cache. `tables`: of each group, its blocks by position, `GONE` before `held`, the first
    that it still has. `saved`: lengths to which it can be cut back, the oldest first; `retained`: of each group, what
    is seen from there, or from lengths of snapshots, and went out of sight, by position. `states`: by name, never
    written again; `snapshots`: those of lengths to which it can be cut back; `passed`: those of ends of blocks within
    its last step, until they are published; `last_published`: the key of states that give way to the next ones.
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

"""proportional: of all of a head's angles only the first turn, the others stand still (Gemma 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import inverse_frequencies


@dataclass(frozen=True)
class Proportional(RopeType):
    """`turning`: how many angles turn; `factor`: what they are divided by."""

    turning: int
    factor: float
    TURNS_WHOLE_HEADS: ClassVar[bool] = True

    @classmethod
    def read(cls, entries: RopeEntries) -> Proportional:
        """Knows `factor`; `partial_rotary_factor` is the part of the angles that turn."""
        size = entries.head_dim
        if entries.partial * size < 2:
            raise GraphError(
                f"config.json's partial_rotary_factor {entries.partial:g} turns none of a head's {size} numbers."
            )
        return cls(entries.base, size, int(entries.partial * size // 2), entries.optional("factor") or 1.0)

    def frequencies(self, rows: slice) -> Floats:
        """The same for every position."""
        frequencies = inverse_frequencies(self.base, self.dim)
        frequencies[self.turning :] = 0
        return frequencies / np.float32(self.factor)


TYPE = Proportional

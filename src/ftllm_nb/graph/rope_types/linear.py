"""linear: positions are divided by a factor (position interpolation, Chen et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import inverse_frequencies


@dataclass(frozen=True)
class Linear(RopeType):
    """`factor`: by how much the context is stretched."""

    factor: float

    @classmethod
    def read(cls, entries: RopeEntries) -> Linear:
        """Needs `factor`."""
        return cls(entries.base, entries.dim, entries.number("factor"))

    def frequencies(self, rows: slice) -> Floats:
        """The same for every position."""
        return inverse_frequencies(self.base, self.dim) / np.float32(self.factor)


TYPE = Linear

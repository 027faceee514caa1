"""divided: each angle is divided by a number of its own, as GGUF files have what their models' configs scale by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import inverse_frequencies


@dataclass(frozen=True)
class Divided(RopeType):
    """`divisors`: one an angle."""

    divisors: tuple[float, ...]

    @classmethod
    def read(cls, entries: RopeEntries) -> Divided:
        """Needs `divisors`."""
        return cls(entries.base, entries.dim, entries.numbers("divisors", entries.angles))

    def frequencies(self, rows: slice) -> Floats:
        """The same for every position."""
        frequencies = inverse_frequencies(self.base, self.dim)
        frequencies /= np.asarray(self.divisors, np.float32)
        return frequencies


TYPE = Divided

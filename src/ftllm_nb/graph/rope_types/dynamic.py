"""dynamic: the base grows with the length, beyond the original context ("dynamic NTK").

Position p is rotated as if p + 1 were the length, which is what transformers does when it decodes a token at a time, so
that a token's rotation depends on its position alone. transformers rotates a prompt that it reads at once by the
prompt's whole length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.graph.rope_types.default import Default
from ftllm_nb.ops.rope_frequencies import inverse_frequencies


@dataclass(frozen=True)
class Dynamic(RopeType):
    """`factor`: how fast the base grows; `original`: the context from which on it does."""

    factor: float
    original: float
    SMALLEST_DIM: ClassVar[int] = 4

    @classmethod
    def read(cls, entries: RopeEntries) -> RopeType:
        """Needs `factor`. The original context is `max_position_embeddings`.

        HunYuan's configs have an `alpha`, by which the base is larger at any length, and a `factor` that means nothing.
        """
        alpha = entries.optional("alpha")
        if alpha is not None:
            entries.optional("factor")
            return Default(entries.base * alpha ** (entries.dim / (entries.dim - 2)), entries.dim)
        return cls(entries.base, entries.dim, entries.number("factor"), entries.context)

    def frequencies(self, rows: slice) -> Floats:
        """float32 [rows, angles]; in float32, as transformers computes the base from a length that is a tensor."""
        lengths = np.arange(rows.start + 1, rows.stop + 1)
        factor, original = np.float32(self.factor), np.float32(self.original)
        stretch = factor * lengths.astype(np.float32) / original - (factor - 1)
        stretch = np.where(lengths <= original, np.float32(1), stretch)
        bases = np.float32(self.base) * np.power(stretch, np.float32(self.dim / (self.dim - 2)))
        return inverse_frequencies(bases[:, None], self.dim)


TYPE = Dynamic

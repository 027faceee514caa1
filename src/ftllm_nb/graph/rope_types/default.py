"""default: angle j of position p is p · base^(−2j / dim) (Su et al., 2021)."""

from __future__ import annotations

from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import inverse_frequencies


class Default(RopeType):
    """Frequencies as they are."""

    @classmethod
    def read(cls, entries: RopeEntries) -> Default:
        """Base and size of the rotated part."""
        return cls(entries.base, entries.dim)

    def frequencies(self, rows: slice) -> Floats:
        """The same for every position."""
        return inverse_frequencies(self.base, self.dim)


TYPE = Default

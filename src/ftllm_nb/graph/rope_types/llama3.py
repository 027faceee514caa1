"""llama3: low frequencies are divided by a factor, high ones stay, those between are blended (Llama 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import llama3_frequencies


@dataclass(frozen=True)
class Llama3(RopeType):
    """Frequencies that turn less than `low` times in the `original` context are divided by `factor`; those that turn
    more than `high` times stay.
    """

    factor: float
    low: float
    high: float
    original: float

    @classmethod
    def read(cls, entries: RopeEntries) -> Llama3:
        """Needs `factor`, `low_freq_factor` and `high_freq_factor`."""
        low, high = entries.number("low_freq_factor"), entries.number("high_freq_factor")
        if high <= low:
            raise GraphError(
                f"config.json's high_freq_factor must be larger than its low_freq_factor, but they are {high:g} and "
                f"{low:g}."
            )
        return cls(entries.base, entries.dim, entries.number("factor"), low, high, entries.original)

    def frequencies(self, rows: slice) -> Floats:
        """The same for every position."""
        return llama3_frequencies(self.base, self.dim, self.factor, self.low, self.high, self.original)


TYPE = Llama3

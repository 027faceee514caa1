"""yarn: low frequencies are divided by a factor, high ones stay, and attention gets sharper (Peng et al., 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import yarn_frequencies

BETA_FAST, BETA_SLOW = 32.0, 1.0
"""What the paper recommends for Llama: turns in the original context."""


@dataclass(frozen=True)
class Yarn(RopeType):
    """Angles before `first` stay, those after `last` are divided by `factor`, between them there is a ramp.

    `scale`: what sin and cos are multiplied by.
    """

    factor: float
    first: float
    last: float
    scale: float

    @classmethod
    def read(cls, entries: RopeEntries) -> Yarn:
        """Needs `factor`, or else the original context; knows `attention_factor`, `mscale`, `mscale_all_dim`,
        `beta_fast`, `beta_slow` and `truncate`.
        """
        base, dim, original = entries.base, entries.dim, entries.original
        if base <= 1:
            raise GraphError(f'config.json\'s rope_theta must be more than 1 for rope_type "yarn", but it is {base:g}.')
        factor = entries.optional("factor")
        if factor is None:
            if original == entries.context:
                entries.number("factor")  # says that it is missing: nothing else tells how far the context is stretched
            factor = entries.context / original
        first, last = (
            dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))
            for turns in (
                entries.or_default("beta_fast", BETA_FAST) or BETA_FAST,
                entries.or_default("beta_slow", BETA_SLOW) or BETA_SLOW,
            )
        )
        if entries.flag("truncate", True):
            first, last = math.floor(first), math.ceil(last)
        return cls(base, dim, factor, max(first, 0), min(last, dim - 1), _attention_factor(entries, factor))

    @property
    def attention_factor(self) -> float:
        """Sharpens attention: keys and queries are both multiplied by it."""
        return self.scale

    def frequencies(self, rows: slice) -> Floats:
        """The same for every position."""
        return yarn_frequencies(self.base, self.dim, self.factor, self.first, self.last)


def _attention_factor(entries: RopeEntries, factor: float) -> float:
    given = entries.optional("attention_factor")
    mscale, all_dim = entries.or_default("mscale", None), entries.or_default("mscale_all_dim", None)
    if given is not None:
        return given
    if mscale and all_dim:
        return _sharpness(factor, mscale) / _sharpness(factor, all_dim)
    return _sharpness(factor, 1)


def _sharpness(factor: float, mscale: float) -> float:
    """0.1 · mscale · ln(factor) + 1."""
    return 0.1 * mscale * math.log(factor) + 1 if factor > 1 else 1.0


TYPE = Yarn

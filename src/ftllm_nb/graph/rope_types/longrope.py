"""longrope: each angle is divided by a number of its own, searched for short and for long contexts (Ding et al., 2024).

Which of the two lists is used is decided once, by the longest sequence that the model is loaded for: beyond the
original context it is the long one, for short prompts as well. transformers takes the short list as long as a sequence
fits into the original context and the long one from then on; keys that it cached before keep the short one's angles. A
prefix that is computed once and shared must not depend on what follows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ftllm_nb.errors import GraphError
from ftllm_nb.graph.rope_type import Floats, RopeEntries, RopeType
from ftllm_nb.ops.rope_frequencies import powers


@dataclass(frozen=True)
class LongRope(RopeType):
    """`divisors`: one an angle; `scale`: what sin and cos are multiplied by; `original`: the context before it was
    stretched; `is_long`: whether sequences may be longer than that.
    """

    divisors: tuple[float, ...]
    scale: float
    original: float
    is_long: bool

    @classmethod
    def read(cls, entries: RopeEntries) -> LongRope:
        """Needs `short_factor` and `long_factor`; knows `factor`, `attention_factor`, and `short_mscale` and
        `long_mscale`, which go before it."""
        dim, original = entries.dim, entries.original
        if original <= 1:
            raise GraphError(
                f"config.json's original_max_position_embeddings must be more than 1 for rope_type "
                f'"longrope", but it is {original:g}.'
            )
        short, long = (entries.numbers(name, entries.angles) for name in ("short_factor", "long_factor"))
        factor = entries.optional("factor") or entries.context / original
        is_long = entries.positions > original
        scales = {name: entries.optional(name) for name in ("short_mscale", "long_mscale", "attention_factor")}
        scale = scales["long_mscale" if is_long else "short_mscale"] or scales["attention_factor"]
        if scale is None:
            scale = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
        return cls(entries.base, dim, long if is_long else short, scale, original, is_long)

    @property
    def attention_factor(self) -> float:
        """Sharpens attention: keys and queries are both multiplied by it."""
        return self.scale

    @property
    def note(self) -> str | None:
        """Short prompts, too, are rotated by the long list."""
        if not self.is_long:
            return None
        return (
            'rope_type "longrope": the context is longer than the original one, so long_factor is used for prompts of '
            f"any length; with a context of at most {self.original:.0f} tokens short_factor would be."
        )

    def frequencies(self, rows: slice) -> Floats:
        """The same for every position."""
        return np.float32(1) / (np.asarray(self.divisors, np.float32) * powers(self.base, self.dim))


TYPE = LongRope

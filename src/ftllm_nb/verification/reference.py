"""What a reference computed: the values that enter and leave its modules while it reads some texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

FLOAT32, FLOAT16 = "float32", "float16"


@dataclass
class Recording:
    """One text's values, each [tokens, features].

    `values`: by place, as `model.norm>in` and `model.norm>out`, `>in1` and `>out1` for further ones, and
    `attention.0>q`, `>k`, `>v` and `>out` for what attention itself reads and writes, by its number in the graph.
    """

    token_ids: NDArray[np.int32]
    logits: Array
    values: dict[str, Array]


@dataclass
class Reference:
    """What is compared with.

    `name`: what it is, for sentences. `modules`: by tensor of the checkpoint, the modules that hold it; `leaves`: the
    modules that hold all weights below them, in the order in which they are entered. `attention`: by number, what is
    known of its numbers: scale, window, softcap. `prefill`: so many tokens were read at once, the others one by one.
    `precision`: of the values. `model`: facts by which another model is recognised.
    """

    name: str
    modules: dict[str, list[str]]
    leaves: list[str]
    recordings: list[Recording]
    prefill: int
    attention: list[dict[str, float]] = field(default_factory=list)
    precision: str = FLOAT32
    model: dict[str, Any] = field(default_factory=dict)

    @property
    def noise(self) -> float:
        """The relative difference that rounding alone makes at most."""
        return 1e-5 if self.precision == FLOAT32 else 1.5e-3

    @property
    def tolerance(self) -> float:
        """The relative difference of logits up to which they are called equal."""
        return 1e-4 if self.precision == FLOAT32 else 6e-3


def distance(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The difference's size as a part of theirs; infinity where a number is none."""
    if ours.shape != theirs.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(theirs.astype(np.float64)))
        found = float(np.linalg.norm(ours.astype(np.float64) - theirs)) / max(size, 1e-30)
    return found if np.isfinite(found) else float("inf")

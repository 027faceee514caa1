"""The stored logits: which models, in which stored types, and what transformers answered."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ARCHIVE = Path(__file__).with_name("logits.npz")


@cache
def golden_logits() -> dict[tuple[str, str], NDArray[np.float32]]:
    """(model, stored type) → float32 [tokens, vocab_size]: logits after each token of the prompt."""
    with np.load(ARCHIVE) as archive:
        return {(key.split(".")[0], key.split(".")[1]): archive[key] for key in archive.files}

"""How likely a token was, and which were the likeliest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenLogprobs:
    """`logprob`: natural logarithm of the chosen token's probability; `top`: (token id, logprob), likeliest first."""

    logprob: float
    top: tuple[tuple[int, float], ...]


def token_logprobs(logits: NDArray[np.float32], token_id: int, top: int) -> TokenLogprobs:
    """Of the model's own distribution, before penalties, biases and temperature; equals in the order of their ids."""
    largest = float(logits.max())
    total = largest + float(np.log(np.exp(logits.astype(np.float64) - largest).sum()))
    top = min(top, logits.size)
    ids = np.empty(0, np.intp)
    if top:
        bound = np.partition(logits, logits.size - top)[logits.size - top]
        ids = np.flatnonzero(logits >= bound)
        ids = ids[np.argsort(-logits[ids], kind="stable")][:top]
    likeliest = tuple((int(each), float(logits[each]) - total) for each in ids)
    return TokenLogprobs(float(logits[token_id]) - total, likeliest)

"""How likely a token was, and which were the likeliest."""

from __future__ import annotations

import math
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
    # In float64 the exponentials of a large vocabulary cost as much as a layer of a small model; the sum is float64.
    total = largest + math.log(float(np.exp(logits - np.float32(largest)).sum(dtype=np.float64)))
    top = min(top, logits.size)
    ids = np.empty(0, np.intp)
    if top == 1:
        ids = np.array([int(logits.argmax())])
    elif top:
        bound = np.partition(logits, logits.size - top)[logits.size - top]
        ids = np.flatnonzero(logits >= bound)
        ids = ids[np.argsort(-logits[ids], kind="stable")][:top]
    likeliest = tuple((int(each), float(logits[each]) - total) for each in ids)
    return TokenLogprobs(float(logits[token_id]) - total, likeliest)

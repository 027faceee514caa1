"""The logits after each token of a text, on any executor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, SequenceStep


def text_logits(
    executor: Executor, token_ids: Sequence[int] | NDArray[np.int32], lengths: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """[tokens, vocab_size]. `lengths`: tokens of each step; as many as one may hold, where nothing is said."""
    tokens = np.asarray(token_ids, np.int32)
    if lengths is None:
        most = executor.max_step_tokens
        lengths = [min(most, len(tokens) - begin) for begin in range(0, len(tokens), most)]
    sequence = executor.cache.new_sequence()
    try:
        rows = [
            executor.run([SequenceStep(sequence, tokens[end - length : end], length)]).copy()
            for end, length in zip(accumulate(lengths), lengths, strict=True)
        ]
    finally:
        executor.cache.free(sequence)
    return np.concatenate(rows)

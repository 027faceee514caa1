"""A conversation's place in the KV cache, kept from one turn to the next so that only what is new runs."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.executor import Executor, Sequence, SequenceStep


class PrefixCache:
    """One sequence and the token ids that it holds. Used on the engine thread only."""

    def __init__(self) -> None:
        self._sequence: Sequence | None = None
        self._token_ids: list[int] = []

    def resume(self, executor: Executor, prompt_ids: SequenceOf[int]) -> int:
        """Make the sequence hold a beginning of the prompt, as long as possible; its number of tokens.

        At least the prompt's last token is left to run, since its logits are needed.
        """
        if self._sequence is None:
            self._sequence = executor.new_sequence()
        common = common_prefix(self._token_ids, prompt_ids[:-1])
        if common < len(self._token_ids):
            executor.truncate(self._sequence, common)
            del self._token_ids[common:]
        return common

    def run(
        self, executor: Executor, token_ids: SequenceOf[int], wants_logits: bool = True
    ) -> NDArray[np.float32]:
        """Append the tokens to the sequence in one step; float32 logits [1 or 0, vocab_size]."""
        step = SequenceStep(self._sequence, np.array(token_ids, dtype=np.int32), wants_logits)
        logits = executor.run([step])
        self._token_ids.extend(token_ids)
        return logits

    def forget(self, executor: Executor) -> None:
        """Give the cache back; the next `resume` begins with an empty sequence."""
        sequence, self._sequence = self._sequence, None
        self._token_ids = []
        if sequence is not None:
            executor.free_sequence(sequence)


def common_prefix(first: SequenceOf[int], second: SequenceOf[int]) -> int:
    """How many leading elements are the same in both."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))

"""The contract between generation and what runs a model: token ids in, logits out.

An executor owns the weights, the KV cache and the threads. It runs one step at a time: some tokens of some
sequences. It knows neither text nor sampling. `CompiledExecutor` walks compiled kernels; `ReferenceExecutor`
evaluates each operator's NumPy reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.kv_cache import KVCache


@dataclass(frozen=True)
class SequenceStep:
    """What one sequence contributes to a step.

    `token_ids`: int32 [n], n ≥ 1, appended to the sequence at positions `sequence.length …`.
    `wants_logits`: of how many of its last tokens the logits are wanted: 1 where the next token is to be chosen, 0 for
    a prefill's inner chunks, all where a text is judged. True and False are 1 and 0.
    """

    sequence: CachedSequence
    token_ids: NDArray[np.int32]
    wants_logits: int = 1


class Executor(Protocol):
    """Runs steps. All methods but `request_stop` are called from one thread at a time."""

    maps_experts: bool
    """Whether it can use experts where they lie in files: argument `in_place` (in_place.py)."""
    max_step_tokens: int
    """Most tokens, over all sequences, that one step may hold: longer prompts are prefilled in chunks."""
    vocab_size: int
    max_positions: int
    """Most tokens that one sequence may hold."""

    cache: KVCache
    """The sequences' places in it; steps reserve what they need."""
    block_bytes: int
    """Memory of a block of the cache."""

    def run(self, steps: list[SequenceStep]) -> NDArray[np.float32]:
        """Run one step; float32 logits [number that the steps want, vocab_size], in the steps' order.

        The result is overwritten by the next step. Each sequence grows by its tokens. Raises `StepStopped`
        after `request_stop` (the sequences are then as long as before), `ContextLengthError` when a sequence
        would pass `max_positions`, `EngineError` for token ids outside the vocabulary or a failed step,
        `CacheFullError` when the pool has no block left.
        """

    def largest(self) -> NDArray[np.int64]:
        """The id of the largest logit of each row that the last step gave, the lowest of equals; −1 for a row with NaN
        or an infinity."""

    def request_stop(self) -> None:
        """Ask the running step, if any, to stop soon; callable from any thread and from a signal handler."""

    def clear_stop(self) -> None:
        """Forget stop requests made so far; called before the first step of an answer."""

    def release_memory(self) -> None:
        """Give back the memory of the KV cache that no sequence needs, as far as it can be given back."""

    def close(self) -> None:
        """Stop the threads and give the memory back."""

"""An executor without a model whose cache is made of blocks, and what it should answer.

Logits are a function of the tokens that a sequence's blocks hold, so that a block that was shared wrongly, evicted
too early or written twice gives another answer.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.block_pool import BlockPool
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.logprobs import TokenLogprobs
from ftllm_nb.engine.sampling import Sampler
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import StepStopped

VOCAB = 23


def logits_of(token_ids: Sequence[int]) -> NDArray[np.float32]:
    digest = hashlib.blake2b(bytes(token_ids), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little")).normal(0, 2, VOCAB).astype(np.float32)


def logprob_of(logits: NDArray[np.float32], token_id: int) -> float:
    exact = logits.astype(np.float64)
    return float(exact[token_id] - np.logaddexp.reduce(exact))


def answer_alone(
    prompt: Sequence[int], settings: SamplingSettings, stop_ids: Sequence[int], most: int
) -> tuple[list[int], list[NDArray[np.float32]], str]:
    """Tokens, the logits that each came from, and why it ended: no cache, no batch."""
    sampler = Sampler(settings, prompt, VOCAB)
    tokens: list[int] = []
    rows = []
    while True:
        logits = logits_of([*prompt, *tokens])
        token = sampler.next_token(logits)
        if token in stop_ids:
            return tokens, rows, "stop"
        tokens.append(token)
        rows.append(logits)
        if len(tokens) >= most:
            return tokens, rows, "length"


def same_logprobs(found: TokenLogprobs, logits: NDArray[np.float32], token_id: int, top: int) -> None:
    assert abs(found.logprob - logprob_of(logits, token_id)) < 2e-6
    order = sorted(range(VOCAB), key=lambda each: (-logits[each], each))[:top]
    assert [each for each, _ in found.top] == order
    for each, logprob in found.top:
        assert abs(logprob - logprob_of(logits, each)) < 2e-6


class PagedSequence:
    def __init__(self, blocks: Sequence[int], size: int) -> None:
        self.blocks = list(blocks)
        self.length = len(blocks) * size


class PagedExecutor:
    """`before_step(steps)` is called first in each step; it may call `request_stop`."""

    max_positions = 200
    vocab_size = VOCAB
    block_bytes = 1000

    def __init__(
        self,
        *,
        block_positions: int = 4,
        limit: int | None = None,
        max_step_tokens: int = 16,
        step_seconds: float = 0.0,
        before_step: Callable[[list[SequenceStep]], None] = lambda steps: None,
    ) -> None:
        self.block_positions = block_positions
        self.max_step_tokens = max_step_tokens
        self.step_seconds = step_seconds
        self.before_step = before_step
        numbers = count()
        self.pool = BlockPool(lambda: [next(numbers)], limit)
        self.content: dict[int, tuple[list[int], list[int]]] = {}
        """Of each block: the tokens before it, and those in it."""
        self.step_tokens: list[list[int]] = []
        """Of each completed step, the tokens of each sequence."""
        self.step_running = threading.Event()
        self.closed = False
        self._stop = False

    def new_sequence(self, blocks: Sequence[int] = ()) -> PagedSequence:
        return PagedSequence(blocks, self.block_positions)

    def blocks_of(self, sequence: PagedSequence) -> list[int]:
        return list(sequence.blocks)

    def truncate(self, sequence: PagedSequence, length: int) -> None:
        raise NotImplementedError

    def free_sequence(self, sequence: PagedSequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks = []

    def run(self, steps: list[SequenceStep]) -> NDArray[np.float32]:
        assert not self.closed
        size = self.block_positions
        assert 1 <= sum(len(step.token_ids) for step in steps) <= self.max_step_tokens
        assert len({id(step.sequence) for step in steps}) == len(steps)
        for step in steps:
            sequence = step.sequence
            assert len(step.token_ids) >= 1
            length = sequence.length + len(step.token_ids)
            assert length <= self.max_positions
            while len(sequence.blocks) * size < length:
                sequence.blocks.append(self.pool.take())
        self.before_step(steps)
        self.step_running.set()
        end = time.perf_counter() + self.step_seconds
        while not self._stop and time.perf_counter() < end:
            time.sleep(0.001)
        if self._stop:
            raise StepStopped
        rows = []
        for step in steps:
            sequence = step.sequence
            held: list[int] = []
            for block in sequence.blocks[: -(-sequence.length // size)]:
                before, tokens = self.content[block]
                assert before == held, "a block's keys and values depend on everything before it"
                held += tokens
            del held[sequence.length :]
            for token in step.token_ids.tolist():
                block = sequence.blocks[len(held) // size]
                assert self.pool.is_writable(block)
                if len(held) % size == 0:
                    self.content[block] = (list(held), [])
                self.content[block][1][len(held) % size :] = [token]
                held.append(token)
            sequence.length += len(step.token_ids)
            rows += [logits_of(held[: len(held) - back]) for back in reversed(range(step.wants_logits))]
        self.step_tokens.append([len(step.token_ids) for step in steps])
        self.logits = np.stack(rows) if rows else np.empty((0, VOCAB), np.float32)
        return self.logits

    def largest(self) -> NDArray[np.int64]:
        return self.logits.argmax(axis=1)

    def request_stop(self) -> None:
        self._stop = True

    def clear_stop(self) -> None:
        self._stop = False

    def release_memory(self) -> None:
        self.pool.forget_all()

    def close(self) -> None:
        self.closed = True

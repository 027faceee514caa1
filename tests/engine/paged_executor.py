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
from ftllm_nb.engine.cached_sequence import CachedSequence
from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.engine.kv_cache import GONE, KVCache
from ftllm_nb.engine.logprobs import TokenLogprobs
from ftllm_nb.engine.sampling import Sampler
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import ContextLengthError, StepStopped
from ftllm_nb.ops.reach import Reach

VOCAB = 23


def logits_of(token_ids: Sequence[int]) -> NDArray[np.float32]:
    digest = hashlib.blake2b(bytes(token_ids), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little")).normal(0, 2, VOCAB).astype(np.float32)


def logprob_of(logits: NDArray[np.float32], token_id: int) -> float:
    exact = logits.astype(np.float64)
    return float(exact[token_id] - np.logaddexp.reduce(exact))


def is_writable(pool: BlockPool, block: int) -> bool:
    """Whether one sequence alone has it, and nobody can find it."""
    return pool.is_alone(block) and block not in pool._key_of


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


class PagedExecutor:
    """`before_step(steps)` is called first in each step; it may call `request_stop`. `logits`: of the token after all
    those that a sequence holds. `reaches`: of each group of layers. `has_state`: whether a sequence keeps its last
    three tokens beside its blocks."""

    max_positions = 200
    vocab_size = VOCAB
    block_bytes = 1000

    def __init__(
        self,
        *,
        block_positions: int = 4,
        limit: int | None = 1_000_000,
        max_step_tokens: int = 16,
        step_seconds: float = 0.0,
        before_step: Callable[[list[SequenceStep]], None] = lambda steps: None,
        logits: Callable[[list[int]], NDArray[np.float32]] = logits_of,
        reaches: Sequence[Reach] = (Reach(),),
        has_state: bool = False,
    ) -> None:
        self.max_step_tokens = max_step_tokens
        self.step_seconds = step_seconds
        self.before_step = before_step
        self._logits_of = logits
        self._reaches = tuple(reaches)
        numbers = count(1)
        pool = BlockPool(lambda: [next(numbers)], limit)
        self.cache = KVCache(reaches, block_positions, pool, {"tail": (3,)} if has_state else None)
        self.content: dict[int, tuple[int, list[int], list[int]]] = {}
        """Of each block: its group, the tokens before it, and those in it."""
        self.step_tokens: list[list[int]] = []
        """Of each completed step, the tokens of each sequence."""
        self.step_running = threading.Event()
        self.closed = False
        self._stop = False

    def run(self, steps: list[SequenceStep]) -> NDArray[np.float32]:
        assert not self.closed
        assert 1 <= sum(len(step.token_ids) for step in steps) <= self.max_step_tokens
        assert len({id(step.sequence) for step in steps}) == len(steps)
        for step in steps:
            assert step.token_ids.dtype == np.int32 and len(step.token_ids) >= 1
            length = step.sequence.length + len(step.token_ids)
            if length > self.max_positions:
                raise ContextLengthError("full")
            self.cache.reserve(step.sequence, length)
        self.before_step(steps)
        self.step_running.set()
        end = time.perf_counter() + self.step_seconds
        while not self._stop and time.perf_counter() < end:
            time.sleep(0.001)
        if self._stop:
            raise StepStopped
        rows = []
        for step in steps:
            held = self.held(step.sequence)
            states = {name: np.float32([*array, *step.token_ids])[-3:] for name, array in step.sequence.states.items()}
            assert all(array.tolist() == ([0, 0, 0, *held])[-3:] for array in step.sequence.states.values())
            for token in step.token_ids.tolist():
                self._require_what_is_seen(step.sequence, held)
                self._write(step.sequence, held, token)
                held.append(token)
            self.cache.advance(step.sequence, len(step.token_ids), {len(held): states})
            rows += [self._logits_of(held[: len(held) - back]) for back in reversed(range(step.wants_logits))]
        self.step_tokens.append([len(step.token_ids) for step in steps])
        self.logits = np.stack(rows) if rows else np.empty((0, self.vocab_size), np.float32)
        return self.logits

    def held(self, sequence: CachedSequence) -> list[int]:
        """The tokens of a sequence, by its last block, which knows those before."""
        size = self.cache.block_positions
        if not sequence.length:
            return []
        _, before, tokens = self.content[int(sequence.tables[0][(sequence.length - 1) // size])]
        return [*before, *tokens][: sequence.length]

    def _require_what_is_seen(self, sequence: CachedSequence, held: list[int]) -> None:
        """Every block that the next token sees holds the right tokens, of the right group."""
        size = self.cache.block_positions
        for group, reach in enumerate(self._reaches):
            for number in range(reach.first_seen(len(held)) // size, -(-len(held) // size)):
                its_group, before, tokens = self.content[int(sequence.tables[group][number])]
                rest = held[number * size : number * size + size]
                assert (its_group, before, tokens[: len(rest)]) == (group, held[: number * size], rest)

    def _write(self, sequence: CachedSequence, held: list[int], token: int) -> None:
        size = self.cache.block_positions
        number, inside = divmod(len(held), size)
        for group in range(len(self._reaches)):
            block = int(sequence.tables[group][number])
            assert block != GONE and is_writable(self.cache.pool, block)
            if inside == 0:
                self.content[block] = (group, list(held), [])
            self.content[block][2][inside:] = [token]

    def largest(self) -> NDArray[np.int64]:
        return self.logits.argmax(axis=1)

    def request_stop(self) -> None:
        self._stop = True

    def clear_stop(self) -> None:
        self._stop = False

    def release_memory(self) -> None:
        self.cache.pool.forget_all()

    def close(self) -> None:
        self.closed = True

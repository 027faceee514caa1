"""An executor without a model: the next token is a function of the tokens that a sequence holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.executor import SequenceStep
from ftllm_nb.errors import ContextLengthError, StepStopped


class FakeSequence:
    """The tokens themselves stand for their keys and values."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.freed = False

    @property
    def length(self) -> int:
        return len(self.token_ids)


def sum_of_tokens(token_ids: list[int]) -> int:
    """Depends on every token, so that a wrong cache gives another answer."""
    return (sum(token_ids) * 7 + len(token_ids)) % 97 + 1


class FakeExecutor:
    """`next_token(tokens)` gets the largest logit. A step takes `step_seconds`, in chunks of 1 ms."""

    def __init__(
        self,
        next_token: Callable[[list[int]], int] = sum_of_tokens,
        *,
        max_step_tokens: int = 4,
        max_positions: int = 64,
        vocab_size: int = 100,
        step_seconds: float = 0.0,
    ) -> None:
        self.next_token = next_token
        self.max_step_tokens = max_step_tokens
        self.max_positions = max_positions
        self.vocab_size = vocab_size
        self.step_seconds = step_seconds
        self.steps: list[tuple[list[int], bool]] = []
        """Every completed step: its tokens, and whether logits were wanted."""
        self.sequences: list[FakeSequence] = []
        self.threads: set[int] = set()
        self.closed = 0
        self.step_running = threading.Event()
        self._stop = False

    def _enter(self) -> None:
        assert not self.closed
        self.threads.add(threading.get_ident())

    def new_sequence(self) -> FakeSequence:
        self._enter()
        self.sequences.append(FakeSequence())
        return self.sequences[-1]

    def truncate(self, sequence: FakeSequence, length: int) -> None:
        self._enter()
        assert 0 <= length < sequence.length and not sequence.freed
        del sequence.token_ids[length:]

    def free_sequence(self, sequence: FakeSequence) -> None:
        self._enter()
        assert not sequence.freed
        sequence.freed = True

    def run(self, steps: list[SequenceStep]) -> NDArray[np.float32]:
        self._enter()
        (step,) = steps
        token_ids = step.token_ids.tolist()
        assert step.token_ids.dtype == np.int32 and 1 <= len(token_ids) <= self.max_step_tokens
        assert not step.sequence.freed
        if step.sequence.length + len(token_ids) > self.max_positions:
            raise ContextLengthError("full")
        self.step_running.set()
        end = time.perf_counter() + self.step_seconds
        while not self._stop and time.perf_counter() < end:
            time.sleep(0.001)
        if self._stop:
            raise StepStopped
        step.sequence.token_ids.extend(token_ids)
        self.steps.append((token_ids, step.wants_logits))
        if not step.wants_logits:
            return np.empty((0, self.vocab_size), np.float32)
        self.logits = np.zeros((1, self.vocab_size), np.float32)
        self.logits[0, self.next_token(step.sequence.token_ids)] = 9
        return self.logits

    def largest(self) -> NDArray[np.int64]:
        return self.logits.argmax(axis=1)

    def request_stop(self) -> None:
        self._stop = True

    def clear_stop(self) -> None:
        self._stop = False

    def release_memory(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def answer_of(
    prompt_ids: list[int], count: int, next_token: Callable[[list[int]], int] = sum_of_tokens
) -> list[int]:
    """The greedy answer's first tokens, without an executor or a cache."""
    token_ids = list(prompt_ids)
    for _ in range(count):
        token_ids.append(next_token(token_ids))
    return token_ids[len(prompt_ids) :]

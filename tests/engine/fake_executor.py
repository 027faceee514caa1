"""An executor without a model for one sequence at a time: the next token is a function of the tokens that it holds."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.executor import SequenceStep
from tests.engine.paged_executor import PagedExecutor


def sum_of_tokens(token_ids: list[int]) -> int:
    """Depends on every token, so that a wrong cache gives another answer."""
    return (sum(token_ids) * 7 + len(token_ids)) % 97 + 1


class FakeExecutor(PagedExecutor):
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
        def logits(token_ids: list[int]) -> NDArray[np.float32]:
            row = np.zeros(self.vocab_size, np.float32)
            row[next_token(token_ids)] = 9
            return row

        super().__init__(
            block_positions=2, limit=None, max_step_tokens=max_step_tokens, step_seconds=step_seconds, logits=logits
        )
        self.max_positions = max_positions
        self.vocab_size = vocab_size
        self.steps: list[tuple[list[int], bool]] = []
        """Every completed step: its tokens, and whether logits were wanted."""
        self.threads: set[int] = set()

    def run(self, steps: list[SequenceStep]) -> NDArray[np.float32]:
        self.threads.add(threading.get_ident())
        (step,) = steps
        logits = super().run(steps)
        self.steps.append((step.token_ids.tolist(), bool(step.wants_logits)))
        return logits


def answer_of(
    prompt_ids: list[int], count: int, next_token: Callable[[list[int]], int] = sum_of_tokens
) -> list[int]:
    """The greedy answer's first tokens, without an executor or a cache."""
    token_ids = list(prompt_ids)
    for _ in range(count):
        token_ids.append(next_token(token_ids))
    return token_ids[len(prompt_ids) :]

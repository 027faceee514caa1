"""Timing prefill and decode on an executor, without sampling, text or tokenizer: random token ids in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.engine_thread import EngineThread, Task
from ftllm_nb.engine.executor import Executor, SequenceStep
from ftllm_nb.errors import UsageError

DECODE_PROMPT_TOKENS = 16
"""Tokens in the cache before decode is timed."""
WARM_UP_DECODE_TOKENS = 8


@dataclass
class SpeedTest:
    """Prefill of a prompt of `tokens` (pp) or decode of `tokens` one by one after a short prompt (tg).

    `batch`: sequences that are decoded together. `depth`: tokens that are in the cache before. `seconds`: what each
    repetition took.
    """

    is_decode: bool
    tokens: int
    batch: int = 1
    depth: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As llama-bench names it: pp512, tg64, tg64 @ d4096; and tg64 @ b16 for several sequences."""
        batch = f" @ b{self.batch}" if self.batch > 1 else ""
        return f"{'tg' if self.is_decode else 'pp'}{self.tokens}{batch}{f' @ d{self.depth}' if self.depth else ''}"

    @property
    def total_tokens(self) -> int:
        """Of all sequences."""
        return self.tokens * self.batch

    @property
    def tokens_per_s(self) -> float:
        """Mean over the repetitions."""
        return statistics.fmean(self._rates())

    @property
    def stddev(self) -> float:
        """Sample standard deviation of tokens/s over the repetitions; 0 for a single one."""
        return statistics.stdev(self._rates()) if len(self.seconds) > 1 else 0.0

    @property
    def tokens_before(self) -> int:
        """Positions that are in the cache before the test begins."""
        return self.depth + (DECODE_PROMPT_TOKENS if self.is_decode else 0)

    @property
    def context_tokens(self) -> int:
        """Positions that the test needs in each sequence."""
        return self.tokens_before + self.tokens

    def _rates(self) -> list[float]:
        return [self.total_tokens / seconds for seconds in self.seconds]


def require_context(tests: list[SpeedTest], max_positions: int) -> None:
    """Raise `UsageError` for a test that does not fit a context of so many tokens."""
    too_long = next((test for test in tests if test.context_tokens > max_positions), None)
    if too_long is not None:
        prompt = f", {DECODE_PROMPT_TOKENS} of them a prompt" if too_long.is_decode else ""
        raise UsageError(
            f"{too_long.name} needs a context of {too_long.context_tokens} tokens{prompt}, but the model's holds "
            f"{max_positions}: choose smaller numbers for -p, -n and --depth."
        )


def run_speed_tests(
    engine: EngineThread,
    tests: list[SpeedTest],
    repetitions: int,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    seed: int = 0,
) -> None:
    """Warm up, then run every test `repetitions` times on the engine's thread; fills in their `seconds`.

    `progress(stage, done, total)` is called after each run. Ctrl-C ends the running step.
    """
    task = _SpeedTask(tests, repetitions, seed)
    try:
        engine.submit(task)
        for done in task.results():
            if progress is not None:
                progress("measure", done, len(tests) * (1 + repetitions))
    finally:
        engine.cancel(task)


class _SpeedTask(Task):
    def __init__(self, tests: list[SpeedTest], repetitions: int, seed: int) -> None:
        super().__init__()
        self._tests = tests
        self._repetitions = repetitions
        self._random = np.random.default_rng(seed)

    def run(self, executor: Executor) -> None:
        """Run the tests, on the engine thread."""
        done = 0
        for test in self._tests:
            warm_up_tokens = min(test.tokens, WARM_UP_DECODE_TOKENS) if test.is_decode else test.tokens
            for repetition in range(1 + self._repetitions):
                if repetition == 0:
                    self._time(executor, test, warm_up_tokens)
                else:
                    test.seconds.append(self._time(executor, test, test.tokens))
                done += 1
                self.emit(done)

    def _time(self, executor: Executor, test: SpeedTest, tokens: int) -> float:
        sequences = [executor.cache.new_sequence() for _ in range(test.batch)]
        step_tokens = 1 if test.is_decode else executor.max_step_tokens
        try:
            for sequence in sequences:
                time_steps(
                    executor, [sequence], self._random_ids(executor, test.tokens_before), executor.max_step_tokens
                )
            return time_steps(executor, sequences, self._random_ids(executor, tokens), step_tokens)
        finally:
            for sequence in sequences:
                executor.cache.free(sequence)

    def _random_ids(self, executor: Executor, count: int) -> NDArray[np.int32]:
        return self._random.integers(0, executor.vocab_size, count, np.int32)


def time_steps(executor: Executor, sequences: list[Any], token_ids: NDArray[np.int32], step_tokens: int) -> float:
    """Seconds for appending all tokens to each of the sequences, `step_tokens` of each a step.

    Logits are wanted of the last token, as after a prompt, or of each where a step holds one, as in decode.
    """
    started = time.perf_counter()
    for begin in range(0, len(token_ids), step_tokens):
        end = begin + step_tokens
        wants_logits = step_tokens == 1 or end >= len(token_ids)
        executor.run([SequenceStep(sequence, token_ids[begin:end], wants_logits) for sequence in sequences])
    return time.perf_counter() - started

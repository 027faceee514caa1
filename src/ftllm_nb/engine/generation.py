"""One answer: prefill what the cache does not hold yet, then one token a step until something ends it."""

from __future__ import annotations

import time
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.engine_thread import Task
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.loops import is_loop
from ftllm_nb.engine.prefix_cache import PrefixCache
from ftllm_nb.engine.sampling import Sampler
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.errors import EngineError, StepStopped

FINISHED_BY_STOP_TOKEN = "stop"
FINISHED_BY_LENGTH = "length"
FINISHED_BY_LOOP = "loop"
STOPPED = "stopped"


@dataclass
class GenerationStats:
    """What an answer took. Kept up to date while the answer is made; times are of a monotonic clock."""

    prompt_tokens: int
    """Tokens of the prompt: reused_tokens of them were in the cache, the others are prefilled."""
    reused_tokens: int = 0
    prefill_tokens: int = 0
    """Tokens of the prompt that ran so far."""
    prefill_seconds: float = 0.0
    """From the answer's turn on the engine thread until its last prefill step so far."""
    answer_tokens: int = 0
    """Tokens that were handed out; a stop token is not."""
    decode_tokens: int = 0
    """Tokens that ran one by one; the answer's first token needs no such step, since prefill gave it."""
    decode_seconds: float = 0.0
    """Spent in those steps, sampling included."""
    finish_reason: str = STOPPED
    """Why it ended: "stop" (a stop token), "length" (max_tokens or a full context), "loop" (it repeats itself),
    "stopped" (or not ended yet)."""

    @property
    def prefill_tokens_per_second(self) -> float:
        """0 where nothing was prefilled."""
        return self.prefill_tokens / self.prefill_seconds if self.prefill_seconds else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """0 where no token was decoded."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds else 0.0


class GenerationTask(Task):
    """Emits an answer's token ids, without the stop token that ends it. `stats` grows meanwhile."""

    def __init__(
        self,
        prompt_ids: SequenceOf[int],
        settings: SamplingSettings,
        stop_token_ids: frozenset[int],
        cache: PrefixCache,
    ) -> None:
        super().__init__()
        self.stats = GenerationStats(prompt_tokens=len(prompt_ids))
        self._prompt_ids = list(prompt_ids)
        self._settings = settings
        self._stop_token_ids = stop_token_ids
        self._cache = cache

    def run(self, executor: Executor) -> None:
        """Make the answer, on the engine thread."""
        try:
            self.stats.finish_reason = self._generate(executor)
        except StepStopped:
            # The sequence is as before the step, so that its tokens can be reused by the next turn.
            self.stats.finish_reason = STOPPED
        except MemoryError:
            self._cache.forget(executor)
            raise EngineError(
                f"the memory does not hold {self.stats.prompt_tokens} tokens of prompt and their answer: "
                "close other programs, raise the limit of memory, or shorten the prompt."
            ) from None
        except BaseException:
            self._cache.forget(executor)
            raise

    def _generate(self, executor: Executor) -> str:
        stats, settings = self.stats, self._settings
        sampler = Sampler(settings, self._prompt_ids, executor.vocab_size)
        # The last token of an answer is never run, so that it needs no place in the context.
        most_tokens = executor.max_positions - len(self._prompt_ids) + 1
        if settings.max_tokens is not None:
            most_tokens = min(most_tokens, settings.max_tokens)
        answer_ids: list[int] = []
        logits = self._prefill(executor)
        if logits is None:
            return STOPPED
        decode_started = time.perf_counter()
        while True:
            must_go_on = settings.must_go_on(stats.answer_tokens)
            forbidden = self._stop_token_ids if must_go_on else frozenset()
            token_id = sampler.next_token(logits, forbidden=forbidden, largest=int(executor.largest()[0]))
            if token_id in self._stop_token_ids:
                return FINISHED_BY_STOP_TOKEN
            self.emit(token_id)
            stats.answer_tokens += 1
            answer_ids.append(token_id)
            if stats.answer_tokens == most_tokens:
                return FINISHED_BY_LENGTH
            if settings.stop_loops and not settings.must_go_on(stats.answer_tokens) and is_loop(answer_ids):
                return FINISHED_BY_LOOP
            if self.cancelled:
                return STOPPED
            logits = self._cache.run(executor, [token_id])[0]
            stats.decode_tokens += 1
            stats.decode_seconds = time.perf_counter() - decode_started

    def _prefill(self, executor: Executor) -> NDArray[np.float32] | None:
        """Run what the cache lacks of the prompt, chunk by chunk; the last logits, None if cancelled."""
        stats = self.stats
        started = time.perf_counter()
        stats.reused_tokens = self._cache.resume(executor, self._prompt_ids)
        begin = stats.reused_tokens
        while not self.cancelled:
            end = min(begin + executor.max_step_tokens, len(self._prompt_ids))
            is_last = end == len(self._prompt_ids)
            logits = self._cache.run(executor, self._prompt_ids[begin:end], wants_logits=is_last)
            stats.prefill_tokens += end - begin
            stats.prefill_seconds = time.perf_counter() - started
            if is_last:
                last: NDArray[np.float32] = logits[0]
                return last
            begin = end
        return None


class LogitsTask(GenerationTask):
    """Runs a prompt and keeps its last logits, float32 [vocab_size]; None where it was stopped before."""

    def __init__(self, prompt_ids: SequenceOf[int], cache: PrefixCache) -> None:
        super().__init__(prompt_ids, SamplingSettings(), frozenset(), cache)
        self.logits: NDArray[np.float32] | None = None

    def _generate(self, executor: Executor) -> str:
        logits = self._prefill(executor)
        if logits is None:
            return STOPPED
        self.logits = logits.copy()
        return FINISHED_BY_LENGTH

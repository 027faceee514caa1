"""One answer of a session: a scheduler's only request, from its prompt to its last token."""

from __future__ import annotations

import time
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.engine_thread import Task
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.kept_sequence import KeptSequence
from ftllm_nb.engine.request import CANCELLED, FAILED, End, Request, Token
from ftllm_nb.engine.sampling_settings import SamplingSettings
from ftllm_nb.engine.scheduler import Scheduler, SchedulerLimits

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
        kept: KeptSequence,
        only_prompt: bool = False,
    ) -> None:
        super().__init__()
        self.stats = GenerationStats(prompt_tokens=len(prompt_ids))
        self._end: End | None = None
        self._request = Request(
            prompt_ids, settings, self._hear, stop_token_ids=stop_token_ids, kept=kept, only_prompt=only_prompt
        )

    @property
    def last_logits(self) -> NDArray[np.float32] | None:
        """Of the token that would follow, float32 [vocab_size], where only the prompt was read to its end."""
        return self._request.last_logits

    def run(self, executor: Executor) -> None:
        """Make the answer, on the engine thread. A step that is stopped ends it; what ran before is kept."""
        scheduler = Scheduler(executor, SchedulerLimits(max_batch=1, chunk_tokens=executor.max_step_tokens))
        started = time.perf_counter()
        scheduler.add(self._request)
        try:
            while not scheduler.is_idle:
                finished = scheduler.step()
                self._count(time.perf_counter() - started)
                self._request.cancelled |= self.cancelled or not finished
        except BaseException as error:
            scheduler.end_all(FAILED, error)
            raise
        if self._end is not None and self._end.error is not None:
            raise self._end.error

    def _hear(self, event: Token | End) -> None:
        if isinstance(event, Token):
            self.stats.answer_tokens += 1
            self.emit(event.token_id)
        else:
            self._end = event
            self.stats.finish_reason = STOPPED if event.reason in (CANCELLED, FAILED) else event.reason

    def _count(self, seconds: float) -> None:
        """Note what ran until so many seconds after the beginning."""
        request, stats = self._request, self.stats
        if request.computed_tokens == stats.prefill_tokens + stats.decode_tokens:
            return
        stats.reused_tokens = request.cached_tokens
        stats.prefill_tokens = min(request.computed_tokens, stats.prompt_tokens - stats.reused_tokens)
        stats.decode_tokens = request.computed_tokens - stats.prefill_tokens
        if stats.decode_tokens:
            stats.decode_seconds = seconds - stats.prefill_seconds
        else:
            stats.prefill_seconds = seconds

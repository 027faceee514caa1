"""Many requests at once on one engine thread: the thread-safe front of the scheduler."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from ftllm_nb.engine.block_pool import BlockCounts
from ftllm_nb.engine.engine_thread import EngineThread, Task
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.request import CANCELLED, FAILED, Request
from ftllm_nb.engine.scheduler import Scheduler, SchedulerCounts, SchedulerLimits, context_tokens
from ftllm_nb.engine.session import check_prompt
from ftllm_nb.errors import ContextLengthError, EngineError


class QueueFullError(EngineError):
    """As many requests wait as may."""


class BatchingEngine:
    """Answers requests side by side. Any thread may call any method; `max_queue`: most requests that wait."""

    def __init__(self, engine: EngineThread, limits: SchedulerLimits, max_queue: int = 256) -> None:
        self._engine = engine
        self._limits = limits
        self._max_queue = max_queue
        self._scheduler = Scheduler(engine.executor, limits)
        # Reentrant, since a listener that is told of an end may submit or cancel.
        self._lock = threading.RLock()
        self._arrived: list[Request] = []
        self._rounds: _Rounds | None = None
        self.after_step: Callable[[], None] = lambda: None
        """Called on the engine thread after each step, when the listeners have heard of its tokens."""

    @property
    def max_context(self) -> int:
        """Most tokens of a prompt and its answer."""
        return context_tokens(self._engine.executor, self._limits)

    @property
    def num_running(self) -> int:
        """How many requests are being answered."""
        return len(self._scheduler.running)

    @property
    def num_waiting(self) -> int:
        """How many requests have not begun, or have to wait again."""
        return len(self._scheduler.waiting) + len(self._arrived)

    @property
    def counts(self) -> SchedulerCounts:
        """Tokens, steps and preemptions since the beginning."""
        return replace(self._scheduler.counts)

    @property
    def cache(self) -> BlockCounts:
        """Blocks of the KV cache."""
        return self._engine.executor.cache.pool.counts

    @property
    def cache_bytes(self) -> int:
        """Memory that the system gave for those blocks."""
        return self.cache.made * self._engine.executor.block_bytes

    @property
    def state_bytes(self) -> int:
        """Memory of what recurrent layers keep: of requests, and of places from which others may go on."""
        return self._engine.executor.cache.states.memory.made_bytes

    def release_cache(self) -> int:
        """Forget all kept prefixes and give the cache's memory back; how many bytes. 0, and no change, while requests
        are being answered. Waits for the engine thread."""
        before = self.cache_bytes + self.state_bytes
        with self._lock:
            if self._rounds is not None:
                return 0
        try:
            self._engine.call(lambda executor: executor.release_memory())
        except EngineError:
            return 0  # the engine is closed, and its memory given back
        return max(0, before - self.cache_bytes - self.state_bytes)

    def submit(self, request: Request) -> None:
        """Queue a request; its listener hears of everything that follows.

        Raises `ContextLengthError`, `UsageError` or `EngineError` for a prompt that cannot be answered,
        `QueueFullError` where too many wait, `EngineError` after the engine was closed.
        """
        check_prompt(request.token_ids, self._engine.executor)
        if request.prompt_tokens > self.max_context:
            raise ContextLengthError(
                f"the prompt has {request.prompt_tokens} tokens, but the context here is limited to "
                f"{self.max_context}: shorten it."
            )
        with self._lock:
            if self.num_waiting >= self._max_queue:
                raise QueueFullError(f"{self.num_waiting} requests are waiting already: try again later.")
            self._arrived.append(request)
            if self._rounds is None:
                self._rounds = _Rounds(self, self._scheduler)
                try:
                    self._engine.submit(self._rounds)
                except EngineError:
                    self._rounds = None
                    self._arrived.remove(request)
                    raise

    def cancel(self, request: Request) -> None:
        """Nobody wants the rest: it ends before the next step, and a step that runs for it alone is stopped."""
        with self._lock:
            request.cancelled = True
            if self._scheduler.in_step == [request]:
                # Should another step have begun meanwhile, it is stopped, and run again.
                self._engine.executor.request_stop()

    def _next_round(self) -> bool:
        """Hand what arrived to the scheduler; False where nothing is left to do, and the rounds end."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
            for request in arrived:
                self._scheduler.add(request)
            if self._scheduler.is_idle:
                self._rounds = None
                return False
            return True

    def _abandon(self, error: BaseException | None) -> None:
        with self._lock:
            self._rounds = None
            arrived, self._arrived = self._arrived, []
        reason = FAILED if error is not None else CANCELLED
        self._scheduler.end_all(reason, error)
        for request in arrived:
            request.finish(reason, error)


class _Rounds(Task):
    """Steps, one after another, until no request is left."""

    def __init__(self, front: BatchingEngine, scheduler: Scheduler) -> None:
        super().__init__()
        self._front = front
        self._scheduler = scheduler

    def run(self, executor: Executor) -> None:
        """Answer everything that comes, on the engine thread."""
        while self._front._next_round():
            executor.clear_stop()
            if self.cancelled:
                raise EngineError("the engine was closed during this answer.")
            try:
                self._scheduler.step()
            finally:
                self._front.after_step()

    def end(self, error: BaseException | None = None) -> None:
        """See `Task.end`. Requests that are left hear of it."""
        if self._front._rounds is self:
            self._front._abandon(error)
        super().end(error)

"""How much memory the KV cache may take, and that it gives it back when nobody asks.

What prompts begin with is kept, so that the next one that begins alike is answered sooner; without a bound that fits
the model it would take all that it may, and look like a leak.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ftllm_nb.engine.block_pool import CacheFullError
from ftllm_nb.engine.executor import Executor
from ftllm_nb.engine.state_memory import FEWEST_SLOTS
from ftllm_nb.errors import EngineError, UsageError
from ftllm_nb.host_memory import available_bytes
from ftllm_nb.serving.options import ServerOptions

SIZE_WHERE_UNKNOWN = 4 << 30
"""Bytes that are taken to be free where the system does not say."""
KEPT_SHARE = 2
"""Times what all answers at once take at most: as much again is kept for prompts that come again."""


def limit_cache(executor: Executor, options: ServerOptions) -> int:
    """Let blocks and recurrent layers' states take at most what this returns, in bytes. `EngineError` where the free
    memory is too little, `UsageError` where --kv_cache_limit is."""
    memory = executor.cache.states.memory
    free = available_bytes()
    free = SIZE_WHERE_UNKNOWN if free is None else free
    limit = options.kv_cache_bytes
    if limit is None:
        positions = executor.max_positions
        if options.max_context_length is not None:
            positions = min(positions, options.max_context_length)
        context = executor.cache.most_blocks(positions, executor.max_step_tokens) * executor.block_bytes
        limit = default_bytes(free, context + 2 * FEWEST_SLOTS * memory.slot_bytes, options.max_batch)
    try:
        of_blocks = memory.limit_share(limit, options.max_batch)
        if of_blocks < executor.block_bytes:
            raise CacheFullError(
                f"{of_blocks} bytes is less than one block of the cache, {executor.block_bytes} bytes for "
                f"{executor.cache.block_positions} tokens."
            )
    except CacheFullError as error:
        if options.kv_cache_bytes is not None:
            raise UsageError(f"--kv_cache_limit allows too little: {error}") from None
        raise EngineError(
            f"{free / 1e6:.0f} MB of memory are free beside the model, too little for its KV cache: close other "
            "programs, raise the limit of memory, or choose a smaller model or --dtype."
        ) from None
    executor.cache.pool.limit = of_blocks // executor.block_bytes
    return executor.cache.pool.limit * executor.block_bytes + limit - of_blocks


def default_bytes(free: int, context: int, max_batch: int) -> int:
    """Bytes where nobody says how many: what `max_batch` whole contexts of `context` bytes take, twice, but at most a
    quarter of the free memory, or half of it where one context needs that."""
    return min(KEPT_SHARE * max_batch * context, max(free // 4, min(context, free // 2)))


class IdleTimer:
    """Calls `release` on the event loop when nobody has asked for so many seconds; 0: never."""

    def __init__(self, seconds: float, release: Callable[[], None]) -> None:
        self._seconds = seconds
        self._release = release
        self._timer: asyncio.TimerHandle | None = None

    def restart(self) -> None:
        """Somebody asks, or was just answered."""
        self.stop()
        if self._seconds:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._release)

    def stop(self) -> None:
        """Do not call."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

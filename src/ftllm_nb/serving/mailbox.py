"""Events of the engine thread, handed to the event loop together.

Waking the loop costs as much as choosing a token, and a loop that is awake takes the interpreter's lock away from the
thread that woke it: so the engine thread wakes it once, when it has chosen all tokens of a step.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any


class Mailbox:
    """Fills queues of one event loop from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._posted: deque[tuple[asyncio.Queue[Any], Any]] = deque()
        self._is_called = False

    def post(self, queue: asyncio.Queue[Any], item: object) -> None:
        """Put the item into the queue, in the order of posting, once the loop was woken."""
        self._posted.append((queue, item))

    def wake(self) -> None:
        """Let the loop look soon; where it is closed, nobody listens any more, and what was posted is dropped."""
        if not self._posted or self._is_called:  # the mark is taken back before the loop looks: nothing stays behind
            return
        self._is_called = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._posted.clear()
            self._is_called = False

    def _deliver(self) -> None:
        self._is_called = False
        while self._posted:
            queue, item = self._posted.popleft()
            queue.put_nowait(item)

"""Events of the engine thread, handed to the event loop together: waking the loop costs as much as choosing a token."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any


class Mailbox:
    """Fills queues of one event loop from any thread. The loop is woken once for all that comes before it looks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._posted: deque[tuple[asyncio.Queue[Any], Any]] = deque()
        self._is_called = False

    def post(self, queue: asyncio.Queue[Any], item: object) -> None:
        """Put the item into the queue soon, in the order of posting; nothing once the loop is closed."""
        self._posted.append((queue, item))
        if self._is_called:  # taken back before the loop looks, so that nothing is left behind
            return
        self._is_called = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._posted.clear()  # the loop was closed: nobody listens any more
            self._is_called = False

    def _deliver(self) -> None:
        self._is_called = False
        while self._posted:
            queue, item = self._posted.popleft()
            queue.put_nowait(item)

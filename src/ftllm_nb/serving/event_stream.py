"""Server-sent events: pieces of an answer as they are made, comments as pings while nothing comes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ftllm_nb.serving.api_errors import as_api_error

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
_GONE = "the client has gone"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class ClientGone(Exception):
    """The client closed the connection."""


def event(data: Any) -> bytes:
    """One event that carries JSON."""
    return b"data: " + to_json(data) + b"\n\n"


def to_json(data: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _ENCODER.encode(data).encode("utf-8", "replace")


async def until_gone(request: Request) -> None:
    """Returns when the client has closed the connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Sends what `events` yields, closes it when the client goes, and then calls `ended`. An error becomes a last
    event."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[Any, None], ping_seconds: float, ended: Callable[[], None]
    ) -> None:
        super().__init__()
        self._events = events
        self._ping_seconds = ping_seconds
        self._ended = ended
        self._last_sent = time.monotonic()
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        self.headers["x-accel-buffering"] = "no"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as an ASGI response."""
        streaming = asyncio.current_task()
        assert streaming is not None
        gone = asyncio.ensure_future(until_gone(Request(scope, receive)))
        pings = asyncio.ensure_future(self._ping(send))
        is_over = False

        def stop(_: asyncio.Future[None]) -> None:
            if not is_over:
                streaming.cancel(_GONE)

        gone.add_done_callback(stop)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            more = True
            while more:
                try:
                    body = event(await anext(self._events))
                except StopAsyncIteration:
                    body, more = DONE, False
                except Exception as error:
                    body, more = event(failure_of(scope, error)), False
                if not more:
                    pings.cancel()
                await self._send(send, body, more)
        except asyncio.CancelledError as error:
            if error.args != (_GONE,):
                raise
        finally:
            is_over = True
            for helper in (gone, pings):
                helper.cancel()
            await asyncio.gather(gone, pings, return_exceptions=True)
            await self._events.aclose()
            # A generator that was never started has nothing to close.
            self._ended()

    async def _send(self, send: Send, body: bytes, more: bool = True) -> None:
        self._last_sent = time.monotonic()
        await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _ping(self, send: Send) -> None:
        """Send a comment whenever nothing else was sent for a while."""
        while True:
            left = self._last_sent + self._ping_seconds - time.monotonic()
            if left > 0:
                await asyncio.sleep(left)
            else:
                await self._send(send, PING)


def failure_of(scope: Scope, error: BaseException) -> dict[str, Any]:
    """What the client is told of an error in the middle of a stream; the log gets the rest."""
    found = as_api_error(error)
    notes = scope.get("notes", {})
    notes["error"] = str(found)
    if found.status >= 500 and found.code == "internal_error":
        notes["exception"] = error
    return found.body()

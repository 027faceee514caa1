"""Server-sent events: pieces of an answer as they are made, comments as pings while nothing comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ftllm_nb.serving.api_errors import as_api_error

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"


class ClientGone(Exception):
    """The client closed the connection."""


def event(data: Any) -> bytes:
    """One event that carries JSON."""
    return b"data: " + to_json(data) + b"\n\n"


def to_json(data: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


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
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        self.headers["x-accel-buffering"] = "no"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as an ASGI response."""
        gone = asyncio.ensure_future(until_gone(Request(scope, receive)))
        next_event: asyncio.Future[Any] | None = None
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not gone.done():
                if next_event is None:
                    next_event = asyncio.ensure_future(anext_or_none(self._events))
                await asyncio.wait({gone, next_event}, timeout=self._ping_seconds, return_when="FIRST_COMPLETED")
                if not next_event.done():
                    await send({"type": "http.response.body", "body": PING, "more_body": True})
                    continue
                try:
                    data = next_event.result()
                    body = DONE if data is None else event(data)
                except Exception as error:
                    data, body = None, event(failure_of(scope, error))
                next_event = None
                await send({"type": "http.response.body", "body": body, "more_body": data is not None})
                if data is None:
                    break
        finally:
            for waiting in (gone, next_event):
                if waiting is not None:
                    waiting.cancel()
                    with suppress(asyncio.CancelledError, Exception):
                        await waiting
            await self._events.aclose()
            # A generator that was never started has nothing to close.
            self._ended()


async def anext_or_none(events: AsyncGenerator[Any, None]) -> Any:
    """The next event, None where there are no more."""
    async for data in events:
        return data
    return None


def failure_of(scope: Scope, error: BaseException) -> dict[str, Any]:
    """What the client is told of an error in the middle of a stream; the log gets the rest."""
    found = as_api_error(error)
    notes = scope.get("notes", {})
    notes["error"] = str(found)
    if found.status >= 500 and found.code == "internal_error":
        notes["exception"] = error
    return found.body()

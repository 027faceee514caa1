"""Streams and the guard before the routes, driven as ASGI drives them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest

from ftllm_nb.serving.event_stream import DONE, PING, EventStream
from ftllm_nb.serving.guard import Guard
from ftllm_nb.serving.options import Limits, ServerOptions

Message = dict[str, Any]
PING_SECONDS = 0.05
HTTP = {"type": "http", "method": "POST", "path": "/", "headers": [], "client": ("127.0.0.1", 1)}


async def never() -> Message:
    await asyncio.Event().wait()
    return {}


def stream(events: AsyncGenerator[Any, None], receive: Any = never) -> tuple[list[bytes], list[bool]]:
    """The bodies that were sent, and an entry for each time that `ended` was called."""
    sent: list[Message] = []
    ended: list[bool] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        response = EventStream(events, PING_SECONDS, lambda: ended.append(True))
        await asyncio.wait_for(response({**HTTP, "notes": {}}, receive, send), 30)

    asyncio.run(run())
    return [message["body"] for message in sent[1:]], ended


def test_pings_come_while_nothing_else_does() -> None:
    async def events() -> AsyncGenerator[Any, None]:
        yield {"a": 1}
        await asyncio.sleep(10 * PING_SECONDS)
        yield {"a": 2}

    began = time.monotonic()
    bodies, ended = stream(events())
    taken = time.monotonic() - began
    assert bodies[0] == b'data: {"a":1}\n\n' and bodies[-2:] == [b'data: {"a":2}\n\n', DONE]
    assert 2 <= bodies.count(PING) <= taken / PING_SECONDS and len(ended) == 1


def test_an_error_is_the_last_event() -> None:
    async def events() -> AsyncGenerator[Any, None]:
        yield {}
        raise ValueError("secret")

    bodies, ended = stream(events())
    assert b"internal_error" in bodies[-1] and b"secret" not in bodies[-1] and len(ended) == 1


@pytest.mark.parametrize("begins", [True, False])
def test_a_client_that_goes_ends_the_stream(begins: bool) -> None:
    closed = []

    async def events() -> AsyncGenerator[Any, None]:
        try:
            if begins:
                yield {}
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def receive() -> Message:
        await asyncio.sleep(0.03)
        return {"type": "http.disconnect"}

    bodies, ended = stream(events(), receive)
    assert DONE not in bodies and closed == [True] and len(ended) == 1


def test_a_stream_that_nobody_takes_is_not_gone_on_with() -> None:
    class Gone(Exception):
        pass

    sent, ended = [], []

    async def events() -> AsyncGenerator[Any, None]:
        for number in range(9):
            yield number

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            raise Gone

    response = EventStream(events(), 5, lambda: ended.append(True))
    with pytest.raises(Gone):
        asyncio.run(response({**HTTP, "notes": {}}, never, send))
    assert len(sent) == 3 and len(ended) == 1


def guarded(app: Any, options: ServerOptions, send: Any, requests: int = 1) -> list[int]:
    """The statuses that the guard says, of requests that come together."""
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def run() -> None:
        guard = Guard(app, options, lambda scope, status, seconds: statuses.append(status))
        calls = [guard(dict(HTTP), receive, send) for _ in range(requests)]
        await asyncio.wait_for(asyncio.gather(*calls), 5)

    asyncio.run(run())
    return statuses


def test_a_client_that_takes_nothing_is_left_alone() -> None:
    cleaned = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            cleaned.append(True)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    options = ServerOptions(host="0.0.0.0", limits=replace(Limits(), send_seconds=0.05))
    assert guarded(app, options, send) == [200] and cleaned == [True]


def test_only_so_many_bodies_are_in_memory() -> None:
    most = 1 + 2 + 64

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)  # until all have asked
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        pass

    options = ServerOptions(host="0.0.0.0", max_batch=1, max_queue=2)
    statuses = guarded(app, options, send, most + 5)
    assert sorted(statuses) == [200] * most + [429] * 5

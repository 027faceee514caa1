"""What stands before every route: keys, the name of the host, the size and the pace of bodies, and the log line."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftllm_nb.serving.api_errors import ApiError, as_api_error
from ftllm_nb.serving.browser_requests import is_of_another_site
from ftllm_nb.serving.event_stream import to_json
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.page.addresses import is_page_file

CLIENT_CLOSED_REQUEST = 499
"""As nginx logs it: the client went before it was answered."""


_DISCARDED_BODIES = 8
_TOO_SLOW = "the client does not take the answer"
_MORE_REQUESTS = 64
"""How many requests are read beside those that the engine takes, for a sentence to each."""


class Guard:
    """ASGI middleware. `done(scope, status, seconds)` is called after each request; scope["notes"] has the details."""

    def __init__(self, app: ASGIApp, options: ServerOptions, done: Callable[[Scope, int, float], None]) -> None:
        self._app = app
        self._options = options
        self._done = done
        self._posts = 0
        self._has_page = options.title is not None
        self._keys = [_digest(key.encode()) for key in options.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        notes = scope["notes"] = {"client": (scope.get("client") or ("", 0))[0]}
        answer = _Answer(send, self._options)
        try:
            self._check(scope)
            with self._place(scope):
                body = await self._read_body(scope, receive)
                await self._app(scope, _replay(body, receive), answer.send)
        except _Gone:
            pass
        except Exception as error:
            notes["exception"] = error
            if not answer.status:
                await answer.fail(as_api_error(error))
        finally:
            self._done(scope, answer.status or CLIENT_CLOSED_REQUEST, time.monotonic() - started)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"")
        if self._keys and not (self._has_page and is_page_file(scope["method"], scope["path"])):
            # No browser shows a key by itself: who does may ask from anywhere.
            scope["notes"]["client"] = f"key {self._check_key(authorization)}"
            return
        is_private = not self._keys and not self._options.is_public
        if is_private and not _is_local(headers.get(b"host", b"").decode("latin-1")):
            # A page in a browser on this machine could reach the server under a name of its own.
            raise ApiError(400, "the host must be named localhost or by its address.", code="wrong_host")
        if is_of_another_site(scope["method"], headers, self._options.cors_origins):
            raise ApiError(403, "pages of other sites may not use this server.", code="wrong_origin")

    def _check_key(self, authorization: bytes) -> int:
        scheme, _, given = authorization.partition(b" ")
        # Every key is compared, in a time that depends neither on where they differ nor on their lengths.
        same = [hmac.compare_digest(key, _digest(given.strip())) for key in self._keys]
        if scheme.lower() != b"bearer" or not any(same):
            raise ApiError(401, "a valid API key is needed: Authorization: Bearer KEY.", code="invalid_api_key")
        return same.index(True) + 1

    @contextmanager
    def _place(self, scope: Scope) -> Iterator[None]:
        """Bounds the bodies that are in memory, and the texts that wait to be tokenized."""
        if scope["method"] != "POST":
            yield
            return
        if self._posts >= self._options.max_batch + self._options.max_queue + _MORE_REQUESTS:
            raise ApiError(429, "too many requests are being read: try again later.", code="queue_full")
        self._posts += 1
        try:
            yield
        finally:
            self._posts -= 1

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._options.limits.body_bytes
        deadline = time.monotonic() + self._options.limits.body_seconds
        pieces: list[bytes] = []
        size = 0
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                raise ApiError(408, "the body did not arrive in time.", code="body_timeout") from None
            if message["type"] == "http.disconnect":
                raise _Gone
            size += len(message.get("body", b""))
            if size <= limit:
                pieces.append(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            # What is too large is read to its end, within bounds: who still sends does not hear an answer.
            if size > limit and (is_whole or size > _DISCARDED_BODIES * limit):
                raise ApiError(413, f"the body is larger than {limit} bytes.", code="body_too_large")
            if is_whole:
                return b"".join(pieces)


class _Gone(Exception):
    """The client went before its body had arrived, or takes none of the answer."""


class _Answer:
    """Sends, within a time; knows the status that was sent."""

    def __init__(self, send: Send, options: ServerOptions) -> None:
        self._send = send
        self._seconds = options.limits.send_seconds
        self.status = 0

    async def send(self, message: Message) -> None:
        """As ASGI's send; a client that does not read is left alone."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        # What asyncio.wait_for does, without a task of its own for each piece of an answer.
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(self._seconds, task.cancel, _TOO_SLOW)
        try:
            await self._send(message)
        except OSError:
            raise _Gone from None
        except asyncio.CancelledError as error:
            if error.args == (_TOO_SLOW,):
                raise _Gone from None
            raise
        finally:
            timer.cancel()

    async def fail(self, error: ApiError) -> None:
        """An error as the whole response."""
        body = to_json(error.body())
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if error.status in (429, 503):
            headers.append((b"retry-after", b"1"))
        if error.status in (408, 413, 429):
            headers.append((b"connection", b"close"))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A receive that gives the body, then what comes after it."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _is_local(host: str) -> bool:
    """Whether a Host header is empty, localhost or an address."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name in ("", "localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def client_of(scope: Scope) -> str:
    """Who asks, for the fair queue: the key's number, else the address."""
    return str(scope["notes"]["client"])

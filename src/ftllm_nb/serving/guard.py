"""What stands before every route: keys, the name of the host, the size and the pace of bodies, and the log line."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftllm_nb.serving.api_errors import ApiError, as_api_error
from ftllm_nb.serving.browser_requests import is_of_another_site
from ftllm_nb.serving.event_stream import to_json
from ftllm_nb.serving.host_names import is_known_host
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.page.addresses import is_page_file

CLIENT_CLOSED_REQUEST = 499
"""As nginx logs it: the client went before it was answered."""


_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_CHARSET = re.compile(rb"""(?:^|;)\s*charset\s*=\s*["']?([^"';\s]*)""", re.IGNORECASE)
_UTF_8 = (b"utf-8", b"utf8", b"us-ascii", b"ascii")
"""Names of UTF-8, and of what is UTF-8 as well."""
_MANY_SLASHES = re.compile("/{2,}")
_DISCARDED_BODIES = 8
_TOO_SLOW = "the client does not take the answer"
_MORE_REQUESTS = 64
"""How many requests are read beside those that the engine takes, for a sentence to each."""


class Guard:
    """ASGI middleware. `done(scope, status, seconds)` is called after each request; scope["notes"] has the details, and
    what a route appends to scope["answer_headers"] is sent with the answer. `json_paths` are the routes that read JSON.
    """

    def __init__(
        self,
        app: ASGIApp,
        options: ServerOptions,
        done: Callable[[Scope, int, float], None],
        json_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._options = options
        self._done = done
        self._json_paths = frozenset(json_paths)
        self._open_paths = {"/health": not options.key_for_health, "/metrics": options.open_metrics}
        self._posts = 0
        self._has_page = options.title is not None
        self._keys = [_digest(key.encode()) for key in options.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        notes = scope["notes"] = {"client": (scope.get("client") or ("", 0))[0], "request_id": request_id}
        extra = scope["answer_headers"] = [(b"x-request-id", request_id.encode())]
        answer = _Answer(send, self._options, extra)
        # HEAD is GET whose body uvicorn leaves out.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        scope["path"] = _MANY_SLASHES.sub("/", scope["path"]).rstrip("/") or "/"
        try:
            self._check(scope, headers)
            with self._place(scope):
                body = await self._read_body(scope, receive)
                self._check_form(scope, body, headers)
                await self._app({**scope, "method": method}, _replay(body, receive), answer.send)
        except _Gone:
            pass
        except Exception as error:
            notes["exception"] = error
            found = as_api_error(error)
            notes.setdefault("error", str(found))
            if not answer.status:
                await answer.fail(found)
        finally:
            self._done(scope, answer.status or CLIENT_CLOSED_REQUEST, time.monotonic() - started)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        is_page = self._has_page and is_page_file(scope["method"], scope["path"])
        if self._keys and not is_page and not self._open_paths.get(scope["path"]):
            # No browser shows a key by itself: who does may ask from anywhere.
            scope["notes"]["client"] = f"key {self._check_key(headers)}"
            return
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._keys and not self._options.is_public and not is_known_host(host, self._options.allowed_hosts):
            # A page in a browser on this machine could reach the server under a name of its own.
            name = ascii(host[:100])[1:-1]
            message = f"the host {name} is unknown: write localhost or an address, or allow it with --allowed_host."
            raise ApiError(400, message, code="wrong_host")
        if is_of_another_site(scope["method"], headers, self._options.cors_origins):
            raise ApiError(403, "pages of other sites may not use this server.", code="wrong_origin")

    def _check_key(self, headers: dict[bytes, bytes]) -> int:
        """The number of the key that the request shows, as OpenAI's clients do or as Anthropic's."""
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            given = headers.get(b"x-api-key", b"")
        # Every key is compared, in a time that depends neither on where they differ nor on their lengths.
        same = [hmac.compare_digest(key, _digest(given.strip())) for key in self._keys]
        if not any(same):
            raise ApiError(401, "a valid API key is needed: Authorization: Bearer KEY.", code="invalid_api_key")
        return same.index(True) + 1

    def _check_form(self, scope: Scope, body: bytes, headers: dict[bytes, bytes]) -> None:
        """Refuse a body that is not said to be JSON, which a form of another site's page could send without asking."""
        if not body or scope["path"] not in self._json_paths:
            return
        if sum(name == b"content-type" for name, _ in scope["headers"]) > 1:
            message = "the header Content-Type stands there twice: send it once."
            raise ApiError(415, message, param="Content-Type", code="unsupported_media_type")
        kind, _, parameters = headers.get(b"content-type", b"").partition(b";")
        kind = kind.strip().lower()
        if not re.fullmatch(rb"application/(json|.*\+json)", kind):
            found = ascii(kind.decode("latin-1"))[1:-1][:100] or "missing"
            right = "Content-Type: application/json"
            message = f"the header Content-Type is {found}, not application/json: send {right} (curl -H '{right}')."
            raise ApiError(415, message, param="Content-Type", code="unsupported_media_type")
        charset = _CHARSET.search(parameters)
        if charset is not None and charset[1].lower() not in _UTF_8:
            found = ascii(charset[1].decode("latin-1"))[1:-1][:100]
            message = f"the header Content-Type says charset={found}, and JSON is UTF-8: send it so, without charset."
            raise ApiError(415, message, param="Content-Type", code="unsupported_media_type")
        coding = headers.get(b"content-encoding", b"identity").strip().lower()
        if coding != b"identity":
            message = "the header Content-Encoding names a compression: send the body as it is, without it."
            raise ApiError(415, message, param="Content-Encoding", code="unsupported_media_type")
        if body[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in body[:4]:
            raise ApiError(400, "the body is UTF-16 or UTF-32, and JSON is UTF-8: send it so.")

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

    def __init__(self, send: Send, options: ServerOptions, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self._seconds = options.limits.send_seconds
        self.status = 0

    async def send(self, message: Message) -> None:
        """As ASGI's send; a client that does not read is left alone."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
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


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The client's own, where it is one, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"


def client_of(scope: Scope) -> str:
    """Who asks, for the fair queue: the key's number, else the address."""
    return str(scope["notes"]["client"])

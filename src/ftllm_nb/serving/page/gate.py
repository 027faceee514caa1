"""What of Gradio can be reached: the page, its files, and the queue that answers it; all under one strict policy.

Gradio also has routes that take uploads, fetch addresses, read files and describe an API of their own. None is open
here: what a page is not made of is answered by 404, and what names files or components in place of text by 400. The
content security policy lets a browser ask this server alone, and run those scripts alone that the page came with,
whatever an answer holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftllm_nb.serving.api_errors import ApiError

OPEN_ROUTES = {
    "GET": re.compile(
        r"/(?:config|theme\.css|favicon\.ico|manifest\.json|(?:assets|static)/.+|gradio_api/(?:"
        r"theme\.css|startup-events|app_id|info|queue/data|heartbeat/[\w-]+))?"
    ),
    "POST": re.compile(r"/gradio_api/(?:queue/join|run/predict|cancel|reset)"),
}
OPEN_ROUTES["HEAD"] = OPEN_ROUTES["GET"]
HEADERS = {
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'none'"
)
ADDED = {
    b"</head>": b"<script>" + files(__package__).joinpath("habits.js").read_bytes() + b"</script></head>",
    # Chromium asks its maker what fields could be filled with, but not in forms with an action of this name.
    b"<gradio-app": b'<form action="/search" autocomplete="off" style="display: contents"><gradio-app',
    b"</gradio-app>": b"</gradio-app></form>",
}
"""What the page has beside Gradio's: marks in it, and what they become."""
NO_TEXT = {"path", "url", "file", "files", "component", "constructor_args", "meta"}
"""Keys in a request by which Gradio would read files, fetch addresses or make components: the page sends none."""
_SCRIPT = re.compile(rb"<script\b(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
_OF_OTHERS = re.compile(
    rb"""<(?:meta|link)\b[^>]*=\s*["'](?:(?:https?:)?//|(?:og|twitter):)[^>]*>""", re.IGNORECASE
)
"""What names other hosts, and how Gradio presents itself to those who are sent the page's address."""


def is_open(method: str, path: str) -> bool:
    """Whether the page needs this route of Gradio's."""
    routes = OPEN_ROUTES.get(method)
    return routes is not None and routes.fullmatch(path) is not None


def is_of_page(path: str) -> bool:
    """Whether a path belongs to the page's own doings, of which a log would be full."""
    return re.match(r"/(?:gradio_api|assets|static)/|/(?:theme\.css|favicon\.ico|manifest\.json)$", path) is not None


def policy(page: bytes) -> str:
    """The content security policy of an HTML page: of inline scripts it allows exactly those that the page has."""
    digests = (hashlib.sha256(script).digest() for script in _SCRIPT.findall(page))
    return POLICY.format(scripts="".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests))


def is_text_alone(body: bytes) -> bool:
    """Whether a request to Gradio is JSON, and names nothing but text and numbers."""
    try:
        left: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if not NO_TEXT.isdisjoint(value):
                return False
            left += value.values()
        elif isinstance(value, list):
            left += value
    return True


class Gate:
    """ASGI middleware around Gradio's application; what it refuses is raised as ApiError.

    `ended(session)` is called when a page is closed that still waits for something.
    """

    def __init__(self, app: ASGIApp, ended: Callable[[str], None]) -> None:
        self._app = app
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        if not is_open(scope["method"], path):
            raise ApiError(404, "Not Found.")
        if scope["method"] == "POST":
            request = await receive()
            if not is_text_alone(request["body"]):
                raise ApiError(400, "this page takes text only.")
            receive = _again(request, receive)
        hardened = _Hardened(send, is_page=path == "/")
        if path == "/gradio_api/queue/data":
            receive = self._watched(scope, receive, hardened)
        # Without an origin Gradio allows other sites nothing; the server's guard has looked at it. Uncompressed, the
        # page's scripts can be read here.
        kept = [
            (name, value)
            for name, value in scope["headers"]
            if name != b"origin" and not (path == "/" and name == b"accept-encoding")
        ]
        await self._app({**scope, "headers": kept}, receive, hardened.send)

    def _watched(self, scope: Scope, receive: Receive, answer: _Hardened) -> Receive:
        """`receive` of a stream of answers, whose end before the answer's own is the end of the page."""
        session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]

        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not answer.is_whole:
                self._ended(session)
            return message

        return watched


def _again(first: Message, receive: Receive) -> Receive:
    """A receive that begins with a message that was already read: the guard hands bodies on in one piece."""
    messages = [first]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


class _Hardened:
    """Adds the headers; holds a page back until its policy is known."""

    def __init__(self, send: Send, *, is_page: bool) -> None:
        self._send = send
        self._is_page = is_page
        self._start: Message = {}
        self._body = b""
        self.is_whole = False

    async def send(self, message: Message) -> None:
        """As ASGI's send."""
        self.is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        if message["type"] == "http.response.start":
            self._start = message
            if not self._is_page:
                await self._send({**message, "headers": self._headers(POLICY.format(scripts=""))})
        elif not self._is_page:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                body = _OF_OTHERS.sub(b"", self._body)
                for mark, replacement in ADDED.items():
                    body = body.replace(mark, replacement, 1)
                length = (b"content-length", str(len(body)).encode())
                await self._send({**self._start, "headers": [*self._headers(policy(body)), length]})
                await self._send({"type": "http.response.body", "body": body})

    def _headers(self, content_policy: str) -> list[tuple[bytes, bytes]]:
        added = {**HEADERS, b"content-security-policy": content_policy.encode()}
        left = {*added, b"content-length"} if self._is_page else {*added}
        if self._is_page:
            added[b"cache-control"] = b"no-cache"
        return [(name, value) for name, value in self._start["headers"] if name not in left] + [*added.items()]

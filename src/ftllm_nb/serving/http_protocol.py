"""One connection, on uvicorn: how long a request's headers may take, and what is said to what is no request."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ftllm_nb.serving import request_log
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.event_stream import to_json
from ftllm_nb.serving.strict_http import StrictConnection

_LOGGER = logging.getLogger("ftllm_nb.serving")
_LOGGER.setLevel(logging.ERROR)  # uvicorn's warnings are of requests, which have a line of their own
_BYTES = re.compile(r":? ?bytearray\(.*", re.DOTALL)
"""What h11 shows of what it read, in Python's notation."""
QUIET_SECONDS = 60.0
"""After a sentence that no connection can be taken, there is none until it went well for so long."""


class Protocol(H11Protocol):
    """Closes a connection whose request's headers do not arrive in time, and refuses what strict_http.py does."""

    headers_seconds = 30.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = _LOGGER
        self.conn: StrictConnection = StrictConnection()
        self._headers_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._await_headers()

    def on_response_complete(self) -> None:
        """See H11Protocol."""
        super().on_response_complete()
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._headers_timer is not None:
            self._headers_timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say why in the API's form, close, and leave a line in the log."""
        refusal = self.conn.refusal
        status = 400 if refusal is None else refusal.error_status_hint
        reason = _BYTES.sub("", str(msg if refusal is None else refusal))
        sentence = f"this is no valid HTTP request: {reason}."
        client = (self.client or ("", 0))[0]
        scope = {"method": "", "path": "", "notes": {"client": client, "error": sentence}}
        request_log.write_line(scope, status, 0.0)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = to_json(ApiError(status, sentence, code="invalid_http").body())
            head = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            response = h11.Response(status_code=status, headers=list(head.items()), reason=b"")
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _should_upgrade(self) -> bool:
        """Never: who offers HTTP/2 or a WebSocket is answered as anybody else."""
        return False

    def _await_headers(self) -> None:
        """One timer from the end of a response, or the connection's beginning, until a request's headers are there."""
        is_waiting = self.cycle is None or self.cycle.response_complete
        if is_waiting and self._headers_timer is None:
            self._headers_timer = self.loop.call_later(self.headers_seconds, self._give_up)
        elif not is_waiting and self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class AcceptFailures:
    """An event loop's exception handler. Connections that cannot be taken, for want of file descriptors or memory, are
    one sentence; asyncio tries again every second, and would report each of its tries with a traceback."""

    def __init__(self) -> None:
        self._last = -QUIET_SECONDS

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what asyncio found nobody for."""
        error = context.get("exception")
        if not isinstance(error, OSError) or "accept" not in str(context.get("message")):
            loop.default_exception_handler(context)
            return
        if loop.time() - self._last >= QUIET_SECONDS:
            remedy = "raise its limit (ulimit -n), or let clients close connections"
            if error.errno in (errno.ENOBUFS, errno.ENOMEM):
                remedy = "close other programs"
            reason = (error.strerror or str(error)).lower()
            print(f"no more connections can be taken: {reason}; they wait; {remedy}.", file=sys.stderr, flush=True)
        self._last = loop.time()


def raise_descriptor_limit() -> None:
    """Let this process have as many open files as it may have: each connection is one."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, OSError, ValueError):
        pass  # a system without such limits, or one that does not let them be raised

"""h11 without what HTTP leaves to a server's choice where two readers of one connection could disagree.

A proxy before this server and the server itself must see the same requests in a stream of bytes; where they do not, a
client can hide a request in another one's body (request smuggling). So what RFC 9112 lets a server repair is refused
here: bare line feeds, folded headers, a length beside a coding, several lengths. The connection closes after that.
"""

from __future__ import annotations

import re

import h11
from h11._receivebuffer import ReceiveBuffer

MOST_HEADER_BYTES = 64 << 10

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(rb"[ \t]*[0-9]{1,18}[ \t]*")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)


class StrictConnection(h11.Connection):
    """A server's side of a connection. What it refuses is a `RemoteProtocolError`, kept in `refusal`."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MOST_HEADER_BYTES)
        self._receive_buffer = _StrictBuffer()
        self.refusal: h11.RemoteProtocolError | None = None

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """See h11; a request for a whole address becomes one for its path at that host."""
        try:
            event = super().next_event()
            return _checked(event) if isinstance(event, h11.Request) else event
        except h11.RemoteProtocolError as error:
            self.refusal = error
            raise


class _StrictBuffer(ReceiveBuffer):
    def _extract(self, count: int) -> bytearray:
        self._taken = super()._extract(count)
        return self._taken

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """The lines of a head or of trailers, once they are whole."""
        lines = super().maybe_extract_lines()
        if lines is None:
            return None
        head = self._taken
        if len(head) > MOST_HEADER_BYTES:
            raise h11.RemoteProtocolError("the headers are too large", error_status_hint=431)
        if not head.count(b"\n") == head.count(b"\r") == head.count(b"\r\n"):
            raise h11.RemoteProtocolError("a line must end with CR and LF")
        if any(line.startswith((b" ", b"\t")) for line in lines):
            raise h11.RemoteProtocolError("a header must be one line")
        if _CONTROL.search(head):
            raise h11.RemoteProtocolError("headers must hold no control characters")
        lengths = [line for line in lines if line[:15].lower() == b"content-length:"]
        if len(lengths) > 1:
            raise h11.RemoteProtocolError("there must be one Content-Length at most")
        if lengths and not _LENGTH.fullmatch(lengths[0][15:]):
            raise h11.RemoteProtocolError("Content-Length must be a number of bytes")
        return lines

    def maybe_extract_next_line(self) -> bytearray | None:
        """The line before a chunk."""
        line = super().maybe_extract_next_line()
        if line is not None and b"\r" in line[:-2]:
            raise h11.RemoteProtocolError("a line must end with CR and LF")
        return line


def _checked(request: h11.Request) -> h11.Request:
    """The request, unless something in it could be read in two ways."""
    headers = dict(request.headers)
    if request.http_version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError("the version of HTTP must be 1.0 or 1.1", error_status_hint=505)
    if b"transfer-encoding" in headers:
        if b"content-length" in headers:
            raise h11.RemoteProtocolError("Content-Length and Transfer-Encoding exclude each other")
        if request.http_version == b"1.0":
            raise h11.RemoteProtocolError("Transfer-Encoding needs HTTP/1.1")
    if not (match := _ABSOLUTE.fullmatch(request.target)):
        return request
    host, path = match.groups()
    if b"@" in host:
        raise h11.RemoteProtocolError("an address must name no user")
    path = path if path.startswith(b"/") else b"/" + path
    others = [(name, value) for name, value in request.headers.raw_items() if name.lower() != b"host"]
    return h11.Request(
        method=request.method, target=path, headers=[(b"Host", host), *others], http_version=request.http_version
    )

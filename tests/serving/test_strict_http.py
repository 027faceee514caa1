"""Bytes that two readers could take for different requests are refused, and the connection closes."""

from __future__ import annotations

import json
import socket

import h11
import pytest

from ftllm_nb.serving.strict_http import MOST_HEADER_BYTES, StrictConnection
from tests.serving.server_process import ServerProcess

HOST = b"Host: localhost\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


def events_of(*pieces: bytes) -> list[h11.Event]:
    """What a connection reads; raises what it refuses."""
    connection = StrictConnection()
    events = []
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            events.append(event)
    return events


@pytest.mark.parametrize("data, words", [
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "exclude"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "exclude"),
    (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", "Transfer"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n", "illegal header"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "one Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\ncontent-length: 4\r\n\r\nabc", "Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3, 4\r\n\r\nabc", "Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\nabc", "Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\nabc", "Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x3\r\n\r\nabc", "Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc", "Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\nabc", "Content-Length"),
    (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3_0\r\n\r\nabc", "Content-Length"),
    (b"GET / HTTP/1.1\n" + HOST + b"\r\n", "CR and LF"),
    (b"GET / HTTP/1.1\r\nHost: localhost\n\r\n", "CR and LF"),
    (b"GET / HTTP/1.1\r\n" + HOST + b"\n", "CR and LF"),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rContent-Length: 3\r\n\r\n", "CR and LF"),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", "one line"),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n\r\n", "one line"),
    (b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", "one line"),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", "control"),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x01b\r\n\r\n", "control"),
    (b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n", "control"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "Host"),
    (b"GET / HTTP/1.1\r\n\r\n", "Host"),
    (b"GET http://user@localhost/ HTTP/1.1\r\n" + HOST + b"\r\n", "no user"),
    (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", "version"),
    (b"GET /\r\n\r\n", "request line"),
    (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", "request line"),
    (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * MOST_HEADER_BYTES + b"\r\n\r\n", "too large"),
])  # fmt: skip
def test_heads_that_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(h11.RemoteProtocolError, match=words):
        events_of(data)
    # The same where it arrives byte by byte, unless it would take long.
    if len(data) < 1000:
        with pytest.raises(h11.RemoteProtocolError, match=words):
            events_of(*(data[at : at + 1] for at in range(len(data))))


@pytest.mark.parametrize("chunks", [
    b"zz\r\nabc\r\n0\r\n\r\n", b"-3\r\nabc\r\n0\r\n\r\n", b"3\nabc\r\n0\r\n\r\n", b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcXX0\r\n\r\n", b"3\r\nabc\n\n0\r\n\r\n", b"3\r\nabc\r\n0\r\nX: 1\n\r\n",
    b"3\r\nabc\r\n0\r\nX: 1\r\n y\r\n\r\n", b"1" * 21 + b"\r\n", b"\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
])  # fmt: skip
def test_chunks_that_are_refused(chunks: bytes) -> None:
    with pytest.raises(h11.RemoteProtocolError):
        events_of(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)


def test_what_is_right_is_read() -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"X: \xfc\r\n"
    length = events_of(head + b"Content-Length: 5\r\n\r\nab", b"cde")
    chunked = events_of(head + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nT: 1\r\n\r\n")
    for events in (length, chunked):
        assert b"".join(event.data for event in events if isinstance(event, h11.Data)) == b"abcde"
        assert isinstance(events[-1], h11.EndOfMessage)


@pytest.mark.parametrize("target, path", [(b"http://a.example:80/x?y=1", b"/x?y=1"), (b"HTTP://a.example:80", b"/")])
def test_a_whole_address_is_its_path_at_its_host(target: bytes, path: bytes) -> None:
    (request, _) = events_of(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert isinstance(request, h11.Request)
    assert request.target == path and dict(request.headers)[b"host"] == b"a.example:80"


def conversation(server: ServerProcess, data: bytes, enough: bytes = b"<none>") -> bytes:
    """All that the server sends until it closes, or until `enough` has come; "<open>" after ten seconds of nothing."""
    host, port = server.url.removeprefix("http://").split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        try:
            while enough not in received and (piece := connection.recv(1 << 16)):
                received += piece
        except TimeoutError:
            received += b"<open>"
    return received


def test_a_hidden_request_is_not_answered(server: ServerProcess) -> None:
    body = b"0\r\n\r\n" + HIDDEN
    head = b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
    both = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(body)
    answer = conversation(server, head + both + body)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1 and not answer.endswith(b"<open>")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error["code"] == "invalid_http" and "exclude each other." in error["message"]
    server.wait_for_log(lambda line: "exclude each other" in str(line.get("error")) and line["status"] == 400)
    assert not any("Invalid HTTP" in line or "Traceback" in line for line in server.lines)


def test_large_headers_and_offers_of_other_protocols(server: ServerProcess) -> None:
    large = conversation(server, b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (80 << 10) + b"\r\n\r\n")
    assert large.startswith(b"HTTP/1.1 431 ")
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
    offered = conversation(server, b"GET /health HTTP/1.1\r\n" + HOST + offer, enough=b"ok")
    assert offered.startswith(b"HTTP/1.1 200 ")
    assert not any("upgrade" in line.lower() for line in server.lines)


@pytest.mark.parametrize("data, words", [
    (b"GET /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n", "illegal request line"),
    (b"POST /health HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "illegal chunk header"),
])  # fmt: skip
def test_a_sentence_says_nothing_in_pythons_notation(server: ServerProcess, data: bytes, words: str) -> None:
    answer = conversation(server, data)
    message = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert message == f"this is no valid HTTP request: {words}."


def test_a_body_that_waits_to_be_asked_for(server: ServerProcess) -> None:
    body = b'{"prompt": "The", "max_tokens": 1}'
    head = b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nExpect: 100-continue\r\n"
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")

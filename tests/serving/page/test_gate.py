"""What is let through to Gradio, with a small application in Gradio's place."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.page.gate import Gate, is_of_page, is_open, is_text_alone, policy

PAGE = b"""<html><head><meta property="og:image" content="https://elsewhere.example/x.jpg"><meta
name="twitter:title" content="Rival">
<link rel="preconnect" href="//fonts.example"><link rel="stylesheet" href="./assets/a.css">
<script>one()</script><script type="module" src="./assets/a.js"></script></head><gradio-app></gradio-app></html>"""


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers everything with a page, and with the headers that it was asked with."""
    seen = json.dumps({name.decode(): value.decode() for name, value in scope["headers"]})
    headers = {b"content-type": b"text/html", b"x-seen": seen.encode(), b"content-length": str(len(PAGE)).encode()}
    await send({"type": "http.response.start", "status": 200, "headers": [*headers.items()]})
    await send({"type": "http.response.body", "body": PAGE[:20], "more_body": True})
    await send({"type": "http.response.body", "body": PAGE[20:]})


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(str(error), error.status)


def ask(method: str, path: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        routes = [Mount("/", Gate(page, lambda session: None))]
        transport = httpx.ASGITransport(Starlette(routes=routes, exception_handlers={ApiError: refused}))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/upload", "/file=/etc/passwd", "/file/x", "/proxy=http://x.hf.space", "/call/chat",
                                  "/api/predict", "/run/other", "/component_server", "/upload_progress", "/vibe-edit",
                                  "/openapi.json", "/runs", "/run-history/connect", "/stream/x", "/custom_component/x",
                                  "/process_recording", "/token", "/user", "/dev/reload"])  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(path: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE"):
        assert ask(method, f"/gradio_api{path}").status_code == 404
        assert not is_open(method, path)


def test_requests_name_text_alone() -> None:
    assert is_text_alone(b'{"data": ["path", {"role": "user", "content": [{"type": "text", "text": "file"}]}, null]}')
    for content in ({"path": "/etc/passwd"}, {"type": "file", "file": 1}, {"component": "html"}, {"files": []},
                    {"url": "http://x"}, {"meta": {"_type": "gradio.FileData"}}):  # fmt: skip
        assert not is_text_alone(json.dumps({"data": [[{"deep": content}]]}).encode())
        assert ask("POST", "/gradio_api/queue/join", json={"event_data": content}).status_code == 400
    assert not is_text_alone(b"") and not is_text_alone(b"[" * 100_000)
    assert ask("POST", "/gradio_api/queue/join", json={"data": ["x"]}).status_code == 200


def test_the_page_has_a_policy_of_its_own() -> None:
    response = ask("GET", "/", headers={"origin": "http://evil.example"})
    text = response.text
    assert not any(name in text for name in ("elsewhere.example", "fonts.example", "Rival"))
    assert "./assets/a.css" in text
    assert int(response.headers["content-length"]) == len(response.content)
    csp = response.headers["content-security-policy"]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(b'one()').digest()).decode()}'" in csp
    assert csp == policy(response.content) and csp.count("sha256") == 2
    scripts = csp.partition("script-src")[2].partition(";")[0]
    assert "unsafe" not in scripts and "http" not in csp
    seen = json.loads(response.headers["x-seen"])
    assert "origin" not in seen and "accept-encoding" not in seen
    other = ask("GET", "/assets/a.js")
    assert other.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert other.content == PAGE and "accept-encoding" in json.loads(other.headers["x-seen"])


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_page_that_goes_before_its_answers_end_is_told_of(is_whole: bool) -> None:
    ended: list[str] = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": not is_whole})
        assert (await receive())["type"] == "http.disconnect"

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/gradio_api/queue/data", "headers": [],
             "query_string": b"session_hash=ab1"}  # fmt: skip
    asyncio.run(Gate(stream, ended.append)(scope, receive, send))
    assert ended == ([] if is_whole else ["ab1"])


def test_the_log_leaves_out_what_pages_do_by_themselves() -> None:
    assert all(map(is_of_page, ("/gradio_api/queue/join", "/assets/x.js", "/theme.css")))
    assert not any(map(is_of_page, ("/", "/v1/models", "/theme.css/x", "/gradio_api")))

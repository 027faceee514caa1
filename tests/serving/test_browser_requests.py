"""What browsers do in their users' names: requests for pages of other sites."""

from __future__ import annotations

import asyncio
import base64
import functools

import httpx
import pytest
from starlette.types import ASGIApp

from ftllm_nb.cli import main
from ftllm_nb.serving.application import create_application
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.service import Service

CHAT = "/v1/chat/completions"
HERE, ELSEWHERE = "http://127.0.0.1:1616", "http://evil.example"
FOREIGN = [{"origin": ELSEWHERE}, {"origin": "null"}, {"origin": "http://["}, {"sec-fetch-site": "cross-site"},
           {"sec-fetch-site": "same-site"}, {"origin": HERE, "sec-fetch-site": "cross-site"}]  # fmt: skip
OWN: list[dict[str, str]] = [{}, {"origin": HERE}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]


@functools.cache
def application(options: ServerOptions) -> ASGIApp:
    """A server whose model never comes to be loaded."""
    return create_application(Service(options))


def request(options: ServerOptions, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """The answer of a server whose model is still loading."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(application(options))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
            body = {"messages": [{"role": "user", "content": "x"}]} if method == "POST" else None
            return await client.request(method, path, headers=headers, json=body)

    return asyncio.run(ask())


def test_no_server_takes_passwords() -> None:
    """A browser would send them for any page that asks."""
    password = {"authorization": "Basic " + base64.b64encode(b"anybody:first").decode()}
    for title in (None, "Ask"):
        refused = request(ServerOptions(api_keys=("first",), title=title), "GET", "/v1/models", password)
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"


def test_pages_of_other_sites_get_no_work_done() -> None:
    """503 is what a chat gets while the model loads: it was let through."""
    keyed = ServerOptions(api_keys=("first",))
    for headers in FOREIGN:
        refused = request(ServerOptions(), "POST", CHAT, headers)
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "wrong_origin"
        assert request(keyed, "POST", CHAT, {**headers, "authorization": "Bearer first"}).status_code == 503
    for headers in OWN:
        assert request(ServerOptions(), "POST", CHAT, headers).status_code == 503
    for origins in (("*",), (ELSEWHERE,)):
        allowed = ServerOptions(cors_origins=origins)
        assert request(allowed, "POST", CHAT, {"origin": ELSEWHERE, "sec-fetch-site": "cross-site"}).status_code == 503


def test_a_public_server_without_a_key_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ftllm_nb.serving.run.run_server", lambda *arguments: None)
    monkeypatch.delenv("FTLLM_NB_API_KEY", raising=False)
    for arguments in (["--host", "0.0.0.0"], ["--host", "0.0.0.0", "--api_key", "x"], []):
        assert main(["server", "demo", *arguments]) == 0
        assert ("give it an --api_key" in capsys.readouterr().err) == (arguments == ["--host", "0.0.0.0"])


def test_a_server_without_a_page_has_no_route_of_it() -> None:
    for path in ("/", "/page/about", "/page/x/app.js"):
        assert request(ServerOptions(), "GET", path).status_code == 404

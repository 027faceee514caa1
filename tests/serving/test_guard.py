"""Keys, hosts, forms of a body, and addresses as clients spell them, before any model is there."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import socket

import httpx
import pytest
from starlette.types import ASGIApp

from ftllm_nb.serving.application import create_application
from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.service import Service

CHAT = "/v1/chat/completions"
BODY = json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode()
JSON = {"content-type": "application/json"}
LOADING = 503
"""What a request gets that was let through, while there is no model."""


@functools.cache
def application(options: ServerOptions) -> ASGIApp:
    return create_application(Service(options))


def ask(
    method: str,
    path: str,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    body: bytes | None = None,
    **options: object,
) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(application(ServerOptions(**options)))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers, content=body)

    return asyncio.run(asked())


@pytest.mark.parametrize("host", [
    "localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.9.9.9:80", "[::1]:80", "0.0.0.0:8080",
    "10.0.0.5", "host.docker.internal:8080", "host.containers.internal", "llm.localhost", socket.gethostname(),
])  # fmt: skip
def test_names_of_this_machine(host: str) -> None:
    assert ask("GET", "/health", {"host": host}).status_code == LOADING


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "internal"])
def test_other_names_are_refused_and_the_remedy_is_said(host: str) -> None:
    refused = ask("GET", "/health", {"host": host})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "wrong_host")
    assert host in error["message"] and "--allowed_host" in error["message"]
    for allowed in ((host.upper(), "other.example"), ("*",)):
        assert ask("GET", "/health", {"host": host}, allowed_hosts=allowed).status_code == LOADING


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain", "multipart/form-data; x"])
def test_a_body_must_be_said_to_be_json(kind: str | None) -> None:
    refused = ask("POST", CHAT, {"content-type": kind} if kind else {}, BODY)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (415, "Content-Type")
    assert "Content-Type: application/json" in error["message"]
    assert (kind or "missing").split(";")[0] in error["message"]


def test_what_is_refused_stands_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    ask("POST", CHAT, {"content-type": "text/plain"}, BODY)
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert line["status"] == 415 and "text/plain" in line["error"]


@pytest.mark.parametrize("kinds", [("text/plain", "application/json"), ("application/json", "application/json")])
def test_a_body_is_of_one_kind(kinds: tuple[str, str]) -> None:
    headers = [("content-type", kind) for kind in kinds]
    refused = ask("POST", CHAT, headers, BODY)
    assert refused.status_code == 415 and "twice" in refused.json()["error"]["message"]


@pytest.mark.parametrize("charset", ["latin-1", '"ISO-8859-1"', "utf-16", "x;charset=utf-8", ""])
def test_json_is_utf_8(charset: str) -> None:
    refused = ask("POST", CHAT, {"content-type": f"application/json; q=1; Charset = {charset}"}, BODY)
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (415, "Content-Type")
    assert "JSON is UTF-8" in error["message"] and error["message"].endswith(".")


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_a_body_of_another_coding_is_a_sentence(coding: str) -> None:
    refused = ask("POST", CHAT, JSON, BODY.decode().encode(coding))
    assert refused.status_code == 400 and "JSON is UTF-8" in refused.json()["error"]["message"]
    assert ask("POST", CHAT, JSON, b"\xef\xbb\xbf" + BODY).status_code == LOADING, "as PowerShell writes UTF-8"


@pytest.mark.parametrize("kind", [
    "application/json", "application/json; charset=utf-8", "Application/vnd.x+JSON", 'application/json;charset="UTF8"',
    "application/json; charset=us-ascii", "application/json; xcharset=latin-1",
])  # fmt: skip
def test_kinds_of_json(kind: str) -> None:
    assert ask("POST", CHAT, {"content-type": kind}, BODY).status_code == LOADING


def test_a_compressed_body_is_refused_by_its_header() -> None:
    refused = ask("POST", CHAT, {**JSON, "content-encoding": "gzip"}, gzip.compress(BODY))
    assert refused.status_code == 415 and refused.json()["error"]["param"] == "Content-Encoding"
    assert ask("POST", CHAT, {**JSON, "content-encoding": "identity"}, BODY).status_code == LOADING


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1//models", "/v1/models?x=/"])
def test_slashes_that_clients_add(path: str) -> None:
    assert ask("GET", path).json()["object"] == "list"


def test_a_base_url_without_v1_is_told_so() -> None:
    answer = ask("POST", "/chat/completions", JSON, BODY)
    assert answer.status_code == 404 and "/v1/chat/completions" in answer.json()["error"]["message"]


def test_head_is_get() -> None:
    same = [ask(method, "/v1/models").headers["content-length"] for method in ("HEAD", "GET")]
    assert same[0] == same[1] and ask("HEAD", "/metrics").status_code == 200
    assert ask("HEAD", CHAT).status_code == 405 and ask("HEAD", "/nowhere").status_code == 404


@pytest.mark.parametrize("options, open_paths", [
    ({}, {"/health"}), ({"key_for_health": True}, set()), ({"open_metrics": True}, {"/health", "/metrics"}),
])  # fmt: skip
def test_what_is_answered_without_a_key(options: dict[str, object], open_paths: set[str]) -> None:
    for path in ("/health", "/health/", "/metrics", "/v1/models", CHAT, "/nowhere"):
        is_open = ask("GET", path, api_keys=("right",), **options).status_code != 401
        assert is_open == (path.rstrip("/") in open_paths)


@pytest.mark.parametrize("headers, passes", [
    ({"authorization": "Bearer right"}, True), ({"authorization": "bearer  right"}, True),
    ({"x-api-key": "right"}, True), ({"authorization": "Basic abc", "x-api-key": "right"}, True),
    ({"x-api-key": "wrong"}, False), ({"authorization": "Bearer wrong", "x-api-key": "right"}, False),
    ({"x-api-key": ""}, False), ({}, False),
])  # fmt: skip
def test_where_a_key_may_stand(headers: dict[str, str], passes: bool) -> None:
    assert (ask("GET", "/v1/models", headers, api_keys=("right",)).status_code == 200) == passes


def test_requests_have_ids() -> None:
    assert ask("GET", "/health", {"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    found = {ask("GET", "/health", headers).headers["x-request-id"] for headers in (None, {"x-request-id": "a b\"c"})}
    assert len(found) == 2 and all(each.startswith("req_") for each in found)


def test_one_model_answers_to_any_name_unless_told_otherwise() -> None:
    body = BODY[:-1] + b', "model": "gpt-4"}'
    answer = ask("POST", CHAT, JSON, body)
    assert answer.status_code == LOADING and answer.headers["x-served-model"] == "demo"
    assert "x-served-model" not in ask("POST", CHAT, JSON, BODY[:-1] + b', "model": "demo"}').headers
    refused = ask("POST", CHAT, JSON, body, strict_model_name=True)
    assert refused.status_code == 404 and refused.json()["error"]["code"] == "model_not_found"

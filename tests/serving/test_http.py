"""Statuses, errors, limits, keys and streams, as HTTP has them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ftllm_nb.serving.options import ServerOptions
from ftllm_nb.serving.run import bind
from tests.forking.programs import program
from tests.serving.server_process import ServerProcess

SUM = [{"role": "user", "content": "What is 17 + 25?"}]
LONG = {"messages": SUM, "logit_bias": {"2": -100, "0": -100}, "max_tokens": 900}
CHAT = "/v1/chat/completions"
RIGHT = '{"messages": [{"role": "user", "content": "Hello"}]}'


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as http:
        yield http


def error_of(response: httpx.Response) -> dict[str, Any]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".") and "\n" not in error["message"]
    return dict(error)


@pytest.mark.parametrize("path, body, param", [
    (CHAT, {}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": "hello"}, "messages"),
    (CHAT, {"messages": [{"role": "pope", "content": "x"}]}, "messages.0.role"),
    (CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages.0.content"),
    (CHAT, {"messages": SUM, "temperature": -1}, "temperature"),
    (CHAT, {"messages": SUM, "temperature": "1"}, "temperature"),
    (CHAT, {"messages": SUM, "top_p": 1.5}, "top_p"),
    (CHAT, {"messages": SUM, "n": 0}, "n"),
    (CHAT, {"messages": SUM, "n": 129}, "n"),
    (CHAT, {"messages": SUM, "max_tokens": 0}, "max_tokens"),
    (CHAT, {"messages": SUM, "top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"messages": SUM, "stop": [""]}, "stop"),
    (CHAT, {"messages": SUM, "stop": ["x"] * 65}, "stop"),
    (CHAT, {"messages": SUM, "logit_bias": {"x": 1}}, "logit_bias"),
    (CHAT, {"messages": SUM, "logit_bias": {"99999": 1}}, "logit_bias"),
    (CHAT, {"messages": SUM, "stop": [5] * 1_000_000}, "stop.0"),
    (CHAT, {"messages": SUM, "top_logprobs": 2}, "top_logprobs"),
    (CHAT, {"messages": SUM, "tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
    (CHAT, {"messages": SUM, "tool_choice": "required"}, "tool_choice"),
    (CHAT, {"messages": SUM, "tool_choice": {"function": {}}}, "tool_choice.function.name"),
    (CHAT, {"messages": SUM, "tool_choice": {}}, "tool_choice.function"),
    (CHAT, {"messages": SUM, "tool_choice": "f"}, "tool_choice"),
    (CHAT, {"messages": SUM, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (CHAT, {"messages": SUM, "response_format": {"type": "xml"}}, "response_format.type"),
    ("/v1/completions", {"prompt": []}, "prompt"),
    ("/v1/completions", {"prompt": [2048]}, "prompt"),
    ("/v1/completions", {"prompt": [-1] * 1_000_000}, "prompt.0"),
    ("/v1/completions", {"prompt": "x", "logit_bias": {"99999": 1}}, "logit_bias"),
    ("/v1/completions", {"prompt": "x", "suffix": "y"}, "suffix"),
    ("/v1/completions", {"prompt": ["x"] * 100, "n": 2}, "n"),
    ("/tokenize", {}, "prompt"),
    ("/tokenize", {"messages": SUM, "add_special_tokens": True}, "add_special_tokens"),
    ("/tokenize", {"prompt": "x", "with_pieces": True}, "with_pieces"),
    ("/detokenize", {"tokens": [-1]}, "tokens.0"),
    ("/detokenize", {"tokens": [5] * 1025}, "tokens"),
])
def test_what_is_wrong_is_named(http: httpx.Client, path: str, body: dict[str, Any], param: str) -> None:
    started = time.monotonic()
    response = http.post(path, json=body)
    assert response.status_code == 400 and time.monotonic() - started < 5
    error = error_of(response)
    assert error["type"] == "invalid_request_error"
    assert str(error["param"]).startswith(param)


@pytest.mark.parametrize("schema, word", [
    ({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, "JSON schema"),
    ({"type": "nonsense"}, "JSON schema"),
    ({"$ref": "#"}, "allows no beginning"),
    ({"$ref": "http://localhost/schema.json"}, "JSON schema"),
    ({"enum": ["x" * 70_000]}, "larger"),
    ({"type": "string", "pattern": "(" * 50}, "JSON schema"),
])
def test_schemas_that_cannot_be_followed_are_refused(http: httpx.Client, schema: dict[str, Any], word: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    response = http.post(CHAT, json={"messages": SUM, "response_format": form})
    assert response.status_code == 400 and word in error_of(response)["message"]


def test_deep_schemas_are_refused(http: httpx.Client) -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(40):
        schema = {"type": "array", "items": schema}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    response = http.post(CHAT, json={"messages": SUM, "response_format": form})
    assert response.status_code == 400 and "deeper" in error_of(response)["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"messages": NaN}', b'"text"', b"null"])
def test_bodies_that_are_no_json_object(http: httpx.Client, body: bytes) -> None:
    response = http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    error_of(response)


def test_where_json_is_wrong_is_said(http: httpx.Client) -> None:
    response = http.post(CHAT, content=b'{"messages":', headers={"content-type": "application/json"})
    assert error_of(response)["message"] == "the body is no valid JSON: Expecting value, at character 12."


@pytest.mark.parametrize("body, sentence", [
    (b"", f"the body is empty: a JSON object is expected, such as {RIGHT}."),
    (b'{"x": "\xff"}', "the body is no text in UTF-8: byte 7 of it cannot be read."),
    (b"[" * 100_000, "the body is nested too deeply: lists and objects in it hold one another too many times."),
    (b'{"n": ' + b"1" * 5000 + b"}", "the body cannot be read as JSON: a number in it has too many digits."),
    (b'{"\\ud800": 1}', "the name of a field holds half of a character (a lone surrogate), which is no text."),
    (b"null", f"the body must be a JSON object, such as {RIGHT}."),
    (b"[1]", f"the body must be a JSON object, such as {RIGHT}."),
    (b"{}", "messages: this field is required."),
])  # fmt: skip
def test_what_a_body_must_be_is_said(http: httpx.Client, body: bytes, sentence: str) -> None:
    response = http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400 and error_of(response)["message"] == sentence


def test_what_is_not_here_is_answered_with_what_is(http: httpx.Client) -> None:
    found = error_of(http.post("/v1/embeddings", json={}))["message"]
    assert found.startswith("there is no /v1/embeddings here; this server has POST /v1/chat/completions, ")
    assert "GET /health" in found and "openapi" not in found
    assert "/v1/chat/completions." in error_of(http.post("/chat/completions", json={}))["message"]
    assert error_of(http.get(CHAT))["message"] == f"{CHAT} is not asked with GET: send POST."
    assert "\\n" in error_of(http.get("/a%0Ab"))["message"]


def test_other_statuses(http: httpx.Client) -> None:
    assert http.get("/nowhere").status_code == 404
    assert http.get(CHAT).status_code == 405
    for response in (http.get("/nowhere"), http.get(CHAT)):
        error_of(response)
    assert http.get(CHAT).headers["allow"] == "POST"
    large = http.post(CHAT, json={"messages": [{"role": "user", "content": "x" * (5 << 20)}]})
    assert large.status_code == 413
    error_of(large)
    wrong_host = http.get("/health", headers={"host": "evil.example:80"})
    assert wrong_host.status_code == 400 and error_of(wrong_host)["code"] == "wrong_host"
    for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
        assert http.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("characters", [6_000, 100_000])
def test_a_prompt_beyond_the_context(http: httpx.Client, characters: int) -> None:
    text = " word" * (characters // 5)
    response = http.post(CHAT, json={"messages": [{"role": "user", "content": text}]})
    assert response.status_code == 400
    assert error_of(response)["code"] == "context_length_exceeded"


def test_a_browsers_page_gets_no_permission(http: httpx.Client) -> None:
    response = http.options(CHAT, headers={"origin": "http://evil.example", "access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in response.headers
    # A form can send plain text without asking first; such a body is refused.
    plain = http.post(CHAT, content=json.dumps({"messages": SUM}), headers={"content-type": "text/plain"})
    assert plain.status_code == 415


def test_tokenize_and_detokenize(http: httpx.Client) -> None:
    text = "Hello <|im_end|> wörld 🙂"
    tokens = http.post("/tokenize", json={"prompt": text}).json()
    assert tokens["count"] == len(tokens["tokens"]) and tokens["max_model_len"] == 1024
    assert 2 in tokens["tokens"], "who writes a prompt means its control tokens"
    plain = http.post("/tokenize", json={"prompt": text, "parse_special": False}).json()
    assert 2 not in plain["tokens"] and http.post("/tokenize", json={"content": text}).json() == tokens
    assert http.post("/detokenize", json={"tokens": plain["tokens"]}).json()["prompt"] == text
    chat = http.post("/tokenize", json={"messages": [{"role": "user", "content": "<|im_end|>"}]}).json()
    ends = [*chat["tokens"]].count(2)
    assert ends == http.post("/tokenize", json={"messages": SUM}).json()["tokens"].count(2)
    tool = {"type": "function", "function": {"name": "f"}}
    with_tools = http.post("/tokenize", json={"messages": SUM, "tools": [tool]}).json()["count"]
    used = http.post(CHAT, json={"messages": SUM, "tools": [tool], "max_tokens": 1}).json()["usage"]
    assert with_tools == used["prompt_tokens"]
    named = http.post("/tokenize", json={"prompt": "x<|im_end|>", "return_token_strs": True}).json()
    assert named["token_strs"] == ["x", "<|im_end|>"]
    assert http.post("/detokenize", json={"tokens": tokens["tokens"]}).json()["prompt"] == text
    chat = http.post("/tokenize", json={"messages": SUM}).json()["tokens"]
    assert "<|im_end|>" in http.post("/detokenize", json={"tokens": chat}).json()["prompt"]


def test_metrics_name_what_the_engine_does(http: httpx.Client, server: ServerProcess) -> None:
    before = server.metric("answer_tokens_total"), server.metric("prompt_tokens_total")
    used = http.post(CHAT, json={"messages": SUM, "temperature": 0}).json()["usage"]
    assert server.metric("answer_tokens_total") - before[0] == used["completion_tokens"]
    assert server.metric("prompt_tokens_total") - before[1] == used["prompt_tokens"]
    for name in ("time_to_first_token_seconds_count", "time_per_output_token_seconds_bucket", "cache_blocks_limit"):
        assert server.metric(name) > 0


def test_the_log_has_a_line_without_the_text(http: httpx.Client, server: ServerProcess) -> None:
    secret = "What is 17 + 25? Zanzibar"
    http.post(CHAT, json={**LONG, "messages": [{"role": "user", "content": secret}], "max_tokens": 37})
    # Another test's answer may have ended by itself after as many tokens.
    line = server.wait_for_log(lambda line: line.get("answer_tokens") == 37 and line["finish_reason"] == "length")
    assert (line["status"], line["path"], line["stream"], line["finish_reason"]) == (200, CHAT, False, "length")
    assert not any("Zanzibar" in line for line in server.lines)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_ends_its_answer(http: httpx.Client, server: ServerProcess, stream: bool) -> None:
    before = server.metric("answer_tokens_total")
    if stream:
        with http.stream("POST", CHAT, json={**LONG, "stream": True}) as response:
            next(response.iter_bytes())
    else:
        with pytest.raises(httpx.ReadTimeout):
            http.post(CHAT, json={**LONG, "n": 8}, timeout=0.05)
    server.wait_until_idle()
    assert server.metric("answer_tokens_total") - before < 850 * (1 if stream else 8)


def test_small_pieces_are_sent_at_once() -> None:
    # asyncio turns Nagle's algorithm, which holds them back for 40 ms, off for TCP alone.
    with bind(ServerOptions(port=0)) as listening:
        assert listening.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize("host, is_public", [
    ("127.0.0.1", False), ("127.0.0.2", False), ("localhost", False), ("::1", False),
    ("0.0.0.0", True), ("::", True), ("192.168.1.2", True), ("example.com", True),
])  # fmt: skip
def test_who_can_reach_an_address(host: str, is_public: bool) -> None:
    assert ServerOptions(host=host).is_public == is_public


def test_keys_are_needed_on_every_route() -> None:
    keys = ("--api_key", "right", "--api_key", "second")
    with ServerProcess("demo", *keys, "--cors_origin", "http://a.example") as server:
        with httpx.Client(base_url=server.url) as http:
            assert http.get("/health").status_code == 200
            for path in ("/metrics", "/v1/models", "/nowhere", "/openapi.json"):
                for key in ("", "Bearer wrong", "Bearer", "right", "Bearer rightx", "Basic right"):
                    response = http.get(path, headers={"authorization": key} if key else {})
                    assert response.status_code == 401 and error_of(response)["type"] == "authentication_error"
            for key in ("right", "second"):
                assert http.get("/metrics", headers={"authorization": f"Bearer {key}"}).status_code == 200
            asked = {"origin": "http://a.example", "access-control-request-method": "POST"}
            allowed = http.options(CHAT, headers=asked)
            assert allowed.headers["access-control-allow-origin"] == "http://a.example"


def test_a_full_queue_and_a_long_answer_are_said() -> None:
    with ServerProcess(
        "demo", "--max_batch", "1", "--max_queue", "2", "--request_timeout", "1", "--kv_cache_limit", "20M"
    ) as server:
        statuses: list[int] = []
        endless = {**LONG, "response_format": {"type": "json_schema", "json_schema": {"schema": {
            "type": "string", "minLength": 100_000}}}}

        def ask() -> None:
            statuses.append(httpx.post(server.url + CHAT, json=endless, timeout=30).status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert statuses.count(429) >= 4 and set(statuses) <= {200, 429, 504}
        server.wait_until_idle()


def test_health_says_that_the_model_is_loading_and_sigterm_ends_that() -> None:
    with ServerProcess("demo", "--engine", "compiled", wait=False) as server:
        response = httpx.get(f"{server.url}/health")
        assert response.status_code in (200, 503)
        if response.status_code == 503:
            assert error_of(response)["code"] == "loading"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize("shutdown, complete", [("30", True), ("0.3", False)])
def test_sigterm_finishes_streams_or_ends_them_in_time(shutdown: str, complete: bool) -> None:
    with ServerProcess("demo", "--shutdown_timeout", shutdown) as server:
        tokens = 200 if complete else 1000
        body = {**LONG, "max_tokens": tokens, "n": 8 if not complete else 1, "stream": True, "logprobs": True}
        lines: list[str] = []
        with httpx.stream("POST", server.url + CHAT, json=body, timeout=30) as response:
            for line in response.iter_lines():
                lines += [line] if line else []
                if line and len(lines) == 12:
                    started = time.monotonic()
                    server.signal(signal.SIGTERM)
        assert server.wait() == 0
        if complete:
            assert lines[-1] == "data: [DONE]" and '"finish_reason":"length"' in lines[-2]
        else:
            assert time.monotonic() - started < 8
            assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "closing"


@pytest.mark.parametrize("arguments, sentence", [
    (["--chunked_prefill_size", "8"], "error: --chunked_prefill_size 8 is less than --max_batch 32"),
    (["--kv_cache_limit", "much"], "error: --kv_cache_limit: a size such as 500M"),
    (["--kv_cache_limit", "1K"], "is less than one block of the cache"),
    (["--host", "256.1.1.1"], "cannot be listened on"),
    (["--api_key", ""], "error: --api_key: the key is empty"),
    (["-p", "/nowhere"], "error: /nowhere"),
])
def test_wrong_flags_are_one_sentence(arguments: list[str], sentence: str) -> None:
    command = program("ftllm_nb", "serve", "--port", "0", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert sentence in done.stderr.splitlines()[-1]

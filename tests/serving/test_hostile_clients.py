"""Clients that vanish, send half a body or nonsense: the server goes on, without a status 500 and a leaked block."""

from __future__ import annotations

import json
import random
import socket
import time
from typing import Any

import httpx
import pytest

from tests.serving.server_process import ServerProcess

CHAT = "/v1/chat/completions"
ENDLESS = {
    "messages": [{"role": "user", "content": "Count from 3 to 9."}],
    "logit_bias": {"0": -100, "2": -100},
    "max_tokens": 900,
    "stream": True,
}
FIELDS = (
    "messages", "prompt", "stream", "stop", "n", "seed", "temperature", "top_p", "top_k", "min_p", "logit_bias",
    "logprobs", "top_logprobs", "response_format", "tools", "tool_choice", "max_tokens", "stream_options", "model",
    "repetition_penalty", "presence_penalty", "add_generation_prompt", "tokens", "user", "echo", "min_tokens",
    "stop_token_ids", "ignore_eos", "n_predict", "best_of", "suffix", "mirostat", "options", "stop_loops", "content",
    "add_special_tokens", "parse_special", "do_sample",
)  # fmt: skip


def raw(server: ServerProcess, data: bytes) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(data)
    return connection


def post(body: bytes, length: int | None = None) -> bytes:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def nonsense(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value of any kind, with what programs trip over."""
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind == 6:
        return [nonsense(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        names = ("role", "content", "type", "function", "name", "text", "json_schema", "schema", "parameters", "")
        return {rng.choice(names): nonsense(rng, depth + 1) for _ in range(rng.randrange(5))}
    numbers = (0, -1, 1, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, True)
    texts = ("", "user", "\ud800", "\x00", "<|im_end|>", "auto", "json_schema", "text", "x" * 3000, "{", "é🙂")
    return rng.choice([None, rng.choice(numbers), rng.choice(texts), rng.choice(texts), False, rng.choice(numbers)])


@pytest.mark.parametrize("count", [300, pytest.param(4_000, marks=pytest.mark.slow)])
def test_malformed_requests_are_never_answered_with_500(server: ServerProcess, count: int) -> None:
    rng = random.Random(8)
    statuses: dict[int, int] = {}
    memory = 0
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for number in range(count):
            if number == count // 5:
                memory = server.memory_bytes()
            path = rng.choice([CHAT, CHAT, "/v1/completions", "/tokenize", "/detokenize"])
            body = {name: nonsense(rng) for name in rng.sample(FIELDS, rng.randrange(6))}
            if rng.random() < 0.7:
                asked = {"messages": [{"role": "user", "content": "hello"}]} if path == CHAT else {"prompt": "hello"}
                body = {**asked, **body}
                body["max_tokens"] = 2
            data = json.dumps(body).encode()
            if rng.random() < 0.1:
                data = data[: rng.randrange(len(data))] + rng.randbytes(2)
            response = http.post(path, content=data, headers={"content-type": "application/json"})
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            assert response.status_code in (200, 400, 404), (path, data[:300], response.text)
    assert statuses[200] > 10 and statuses[400] > 100, statuses
    if count > 1000:
        assert server.memory_bytes() - memory < 20 << 20
    server.wait_until_idle()


def test_clients_that_vanish_leave_nothing_behind(server: ServerProcess) -> None:
    rng = random.Random(3)
    body = json.dumps(ENDLESS).encode()
    for _ in range(30):
        cut = rng.choice([len(body), len(body), rng.randrange(len(body))])
        connection = raw(server, post(body[:cut], len(body)))
        if cut == len(body) and rng.random() < 0.7:
            connection.recv(rng.randrange(1, 4000))
        connection.close()
    server.wait_until_idle()
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_a_slow_reader_holds_nobody_up(server: ServerProcess) -> None:
    slow = raw(server, post(json.dumps({**ENDLESS, "logprobs": True, "top_logprobs": 20}).encode()))
    for _ in range(5):
        slow.recv(1)
        time.sleep(0.01)
    question = {"messages": [{"role": "user", "content": "What is 17 + 25?"}], "temperature": 0}
    answer = httpx.post(server.url + CHAT, json=question, timeout=30).json()
    assert answer["choices"][0]["message"]["content"] == "42"
    slow.close()
    server.wait_until_idle()


@pytest.mark.slow
def test_a_full_cache_is_shared_by_everyone() -> None:
    with ServerProcess("demo", "--kv_cache_limit", "3M", "--max_batch", "8") as server:
        connections = [raw(server, post(json.dumps({**ENDLESS, "max_tokens": 200}).encode())) for _ in range(12)]
        for connection in connections:
            received = b""
            while b"[DONE]" not in received and b'"error"' not in received:
                received += connection.recv(1 << 16) or b'"error"'
            assert b'"finish_reason":"length"' in received and b'"error"' not in received
            connection.close()
        assert server.metric("preemptions_total") > 0
        server.wait_until_idle()

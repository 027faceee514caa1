"""Reasoning and calls over HTTP, from a model that says a given text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.puppet import TEMPLATE, write_puppet
from tests.serving.server_process import ServerProcess

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": CITY}} for name in ("get_weather", "get_time")]
SAYS = (
    "I could use a tag.\n</think>\n\nLet me see.\n<tool_call>\n"
    '{"name": "get_weather", "arguments": {"city": "Paris or »Rome«"}}\n</tool_call>\n'
    "<tool_call>{'name': 'get_time', 'arguments': null}</tool_call>"
)
THOUGHT, TEXT = "I could use a tag.", "Let me see."
CALLS = [("get_weather", {"city": "Paris or »Rome«"}), ("get_time", {})]
OPENS_THINKING = TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>\n{% endif") + "{# <tool_call> #}"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server whose tags of thinking are special tokens, and those of calls are text."""
    folder = write_puppet(
        tmp_path_factory.mktemp("answers") / "puppet", SAYS, OPENS_THINKING, control=["<think>", "</think>"]
    )
    with ServerProcess("-p", str(folder), "--kv_cache_limit", "100M") as server:
        yield f"{server.url}/v1/chat/completions"


def ask(url: str, **more: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": "?"}], "temperature": 0, **more}
    answer = httpx.post(url, json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def calls(message: dict[str, Any]) -> list[tuple[str, Any]]:
    found = [call["function"] for call in message.get("tool_calls", ())]
    return [(function["name"], json.loads(function["arguments"])) for function in found]


def test_reasoning_content_and_calls_are_apart(url: str) -> None:
    choice = ask(url, tools=TOOLS)
    message = choice["message"]
    assert choice["finish_reason"] == "tool_calls"
    assert message["reasoning_content"] == message["reasoning"] == THOUGHT
    assert message["content"] == TEXT
    assert calls(message) == CALLS
    assert len({call["id"] for call in message["tool_calls"]}) == 2


def test_without_tools_calls_are_text(url: str) -> None:
    message = ask(url)["message"]
    assert message["reasoning_content"] == THOUGHT
    assert message["content"] == SAYS.partition("</think>\n\n")[2]


def test_a_stream_adds_up_to_the_whole(url: str) -> None:
    body = {"messages": [{"role": "user", "content": "?"}], "temperature": 0, "tools": TOOLS, "stream": True}
    deltas, reasons = [], []
    with httpx.stream("POST", url, json=body, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: {"):
                choice = json.loads(line[6:])["choices"][0]
                deltas.append(choice["delta"])
                reasons.append(choice["finish_reason"])
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == THOUGHT
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    first = [part for part in parts if part["index"] == 0]
    assert first[0]["id"] and first[0]["function"]["name"] == "get_weather"
    assert all("id" not in part and "name" not in part["function"] for part in first[1:])
    assert len(first) > 3, "arguments come as they are written"
    assert json.loads("".join(part["function"]["arguments"] for part in first)) == CALLS[0][1]
    assert [reason for reason in reasons if reason] == ["tool_calls"]


def test_a_call_that_max_tokens_cuts_is_a_call(url: str) -> None:
    most = next(n for n in range(10, 60) if ask(url, tools=TOOLS, max_tokens=n)["message"].get("tool_calls"))
    choice = ask(url, tools=TOOLS, max_tokens=most + 4)
    assert choice["finish_reason"] == "length"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.dumps(CALLS[0][1], ensure_ascii=False).startswith(call["function"]["arguments"])


def test_one_call_at_most(url: str) -> None:
    choice = ask(url, tools=TOOLS, parallel_tool_calls=False)
    assert calls(choice["message"]) == CALLS[:1]
    assert choice["finish_reason"] == "tool_calls"


def test_logprobs_are_the_contents(url: str) -> None:
    choice = ask(url, tools=TOOLS, logprobs=True)
    spelled = b"".join(bytes(token["bytes"]) for token in choice["logprobs"]["content"])
    # The first and the last token hold what stands around the content, too.
    assert TEXT in spelled.decode()
    assert len(spelled) < len(TEXT) + 6
    assert "tool_call" not in spelled.decode()


def test_a_stop_string_may_be_a_tag(url: str) -> None:
    choice = ask(url, stop=["</think>"])
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    assert choice["message"]["reasoning_content"] == THOUGHT


def test_a_stop_string_cuts_a_call(url: str) -> None:
    choice = ask(url, tools=TOOLS, stop=["or »"])
    assert choice["finish_reason"] == "stop"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["arguments"] == '{"city": "Paris '

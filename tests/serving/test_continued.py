"""Answers that go on where another one ended."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.serving.server_process import ServerProcess

QUESTION = {"role": "user", "content": "Count from 3 to 9."}
BEGUN = {"role": "assistant", "content": "3, 4,"}
GO_ON = {"continue_final_message": True}
TOOL = {"type": "function", "function": {"name": "f"}}


def ask(server: ServerProcess, messages: list[dict[str, Any]], **fields: Any) -> httpx.Response:
    body = {"messages": messages, "temperature": 0, **fields}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def text_of(response: httpx.Response) -> str:
    text = response.json()["choices"][0]["message"]["content"]
    assert isinstance(text, str)
    return text


def test_an_answer_goes_on(server: ServerProcess) -> None:
    whole = text_of(ask(server, [QUESTION]))
    assert whole.startswith(BEGUN["content"])
    for fields in (GO_ON, {**GO_ON, "add_generation_prompt": False}):
        assert BEGUN["content"] + text_of(ask(server, [QUESTION, BEGUN], **fields)) == whole
    assert text_of(ask(server, [QUESTION, BEGUN, QUESTION], add_generation_prompt=True)) == whole


@pytest.mark.parametrize("messages, fields, param, words", [
    ([QUESTION], GO_ON, "messages", "an assistant's message"),
    ([QUESTION, {"role": "assistant", "content": " "}], GO_ON, "messages", "with a text"),
    ([QUESTION, BEGUN], {**GO_ON, "add_generation_prompt": True}, "add_generation_prompt", "leave"),
    ([QUESTION, BEGUN], {**GO_ON, "response_format": {"type": "json_object"}}, "continue_final_message", "excludes"),
    ([QUESTION, BEGUN], {**GO_ON, "tools": [TOOL], "tool_choice": "required"}, "continue_final_message", "excludes"),
    ([QUESTION], {"add_generation_prompt": False}, "add_generation_prompt", "must begin"),
])  # fmt: skip
def test_what_cannot_go_on_is_a_sentence(
    server: ServerProcess, messages: list[dict[str, Any]], fields: dict[str, Any], param: str, words: str
) -> None:
    refused = ask(server, messages, **fields)
    error = refused.json()["error"]
    assert refused.status_code == 400 and error["param"] == param and words in error["message"]

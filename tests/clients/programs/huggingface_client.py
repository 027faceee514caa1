"""Hugging Face's InferenceClient."""

# /// script
# dependencies = ["huggingface_hub"]
# ///

from __future__ import annotations

import json
from typing import Any

from _steps import API_KEY, BASE_URL, MODEL, run
from huggingface_hub import AsyncInferenceClient, InferenceClient

client = InferenceClient(base_url=BASE_URL, api_key=API_KEY)
QUESTION: Any = [{"role": "user", "content": "What is 17 + 25?"}]
EVENT = {
    "$defs": {"Person": {
        "type": "object", "properties": {"name": {"type": "string", "maxLength": 12}}, "required": ["name"],
        "additionalProperties": False,
    }},
    "type": "object",
    "properties": {
        "host": {"$ref": "#/$defs/Person"},
        "guests": {"type": "array", "items": {"$ref": "#/$defs/Person"}, "maxItems": 2},
    },
    "required": ["host", "guests"],
    "additionalProperties": False,
}  # fmt: skip
TOOLS: Any = [{"type": "function", "function": {
    "name": "invite", "description": "Invites people.", "parameters": EVENT,
}}]  # fmt: skip


def chat() -> None:
    answer = client.chat_completion(QUESTION, model=MODEL, max_tokens=20, temperature=0)
    assert answer.choices[0].message.content and answer.usage.completion_tokens > 0


def stream() -> None:
    chunks = list(client.chat_completion(
        QUESTION, model=MODEL, max_tokens=20, stream=True, stream_options={"include_usage": True}
    ))  # fmt: skip
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage.completion_tokens > 0


def json_schema() -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "event", "schema": EVENT, "strict": True}}
    answer = client.chat_completion(QUESTION, model=MODEL, response_format=form, max_tokens=300)
    assert set(json.loads(answer.choices[0].message.content or "")) == {"host", "guests"}


def tools() -> None:
    for choice in ("required", {"function": {"name": "invite"}}):
        answer = client.chat_completion(QUESTION, model=MODEL, tools=TOOLS, tool_choice=choice, max_tokens=300)
        call = answer.choices[0].message.tool_calls[0].function
        assert call.name == "invite"
        assert set(json.loads(call.arguments)) == {"host", "guests"}


def streamed_tools() -> None:
    arguments = ""
    for chunk in client.chat_completion(
        QUESTION, model=MODEL, tools=TOOLS, tool_choice="required", max_tokens=300, stream=True
    ):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                arguments += call.function.arguments or ""
    assert set(json.loads(arguments)) == {"host", "guests"}


def openai_spelling() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=5)
    assert answer.choices[0].message.role == "assistant"


async def asynchronous() -> None:
    async with AsyncInferenceClient(base_url=BASE_URL, api_key=API_KEY) as other:
        assert (await other.chat_completion(QUESTION, model=MODEL, max_tokens=5)).choices


run(chat, stream, json_schema, tools, streamed_tools, openai_spelling, asynchronous)

"""Hugging Face's client, which has an implementation of its own, unchanged against the server on the demo model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError

from tests.serving.server_process import ServerProcess
from tests.serving.test_openai_client import PERSON, SUM, WEATHER


@pytest.fixture(scope="module")
def hub_client(server: ServerProcess) -> Iterator[InferenceClient]:
    yield InferenceClient(base_url=f"{server.url}/v1", api_key="unused")


def test_a_chat(hub_client: InferenceClient) -> None:
    answer = hub_client.chat.completions.create(model="demo", messages=SUM, temperature=0)
    assert answer.choices[0].message.content == "42" and answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 0 and answer.model == "demo"


def test_a_stream_with_usage(hub_client: InferenceClient) -> None:
    chunks = list(hub_client.chat_completion(
        SUM, model="demo", temperature=0, stream=True, stream_options={"include_usage": True}
    ))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "42"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0


def test_logprobs(hub_client: InferenceClient) -> None:
    answer = hub_client.chat_completion(SUM, model="demo", temperature=0, logprobs=True, top_logprobs=2)
    found = answer.choices[0].logprobs.content
    assert "".join(each.token for each in found) == "42"
    assert all(each.logprob == each.top_logprobs[0].logprob <= 0 and len(each.top_logprobs) == 2 for each in found)


def test_a_json_schema(hub_client: InferenceClient) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    answer = hub_client.chat_completion(
        SUM, model="demo", response_format=form, temperature=1.2, seed=4, max_tokens=150
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"name", "age"}


def test_a_named_function_without_a_type(hub_client: InferenceClient) -> None:
    choice: Any = {"function": {"name": "get_weather"}}
    answer = hub_client.chat_completion(SUM, model="demo", tools=[WEATHER], tool_choice=choice, max_tokens=100)
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


@pytest.mark.parametrize("stream", [False, True])
def test_a_forced_call(hub_client: InferenceClient, stream: bool) -> None:
    tools: Any = [WEATHER]
    answer: Any = hub_client.chat_completion(
        SUM, model="demo", tools=tools, tool_choice="required", temperature=1, seed=2,
        max_tokens=100, stream=stream,
    )
    if stream:
        choices = [chunk.choices[0] for chunk in answer]
        calls = [call for choice in choices for call in choice.delta.tool_calls or []]
        arguments = "".join(call.function.arguments or "" for call in calls)
        name, reason = calls[0].function.name, choices[-1].finish_reason
    else:
        (call,) = answer.choices[0].message.tool_calls
        name, arguments, reason = call.function.name, call.function.arguments, answer.choices[0].finish_reason
    assert name == "get_weather" and reason == "tool_calls"
    assert json.loads(arguments)["city"] in ("Paris", "Rome")


@pytest.mark.skipif(
    tuple(map(int, huggingface_hub.__version__.split(".")[:2])) < (0, 31),
    reason="before 0.31 the client cannot read an error that is an object, as OpenAI's are",
)
def test_an_error_is_the_servers_sentence(hub_client: InferenceClient) -> None:
    with pytest.raises(BadRequestError, match="temperature"):
        hub_client.chat_completion(SUM, model="demo", temperature=-1)

"""OpenAI's Python client."""

# /// script
# dependencies = ["openai"]
# ///

from __future__ import annotations

import json
from typing import Any, Literal

import openai
from _steps import API_KEY, BASE_URL, MODEL, run
from pydantic import BaseModel, Field

client = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)
QUESTION: Any = [{"role": "user", "content": "What is 17 + 25?"}]


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)
    room: int | None = Field(ge=0, le=99)


class Weather(BaseModel):
    """The weather of a city."""

    city: Literal["Paris", "Rome"]
    days: int = Field(ge=1, le=7)


TOOLS: Any = [openai.pydantic_function_tool(Weather, name="weather")]


def models() -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


def chat() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, max_completion_tokens=20)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.choices[0].message.content and answer.usage and answer.usage.completion_tokens > 0


def content_in_parts() -> None:
    messages: Any = [
        {"role": "developer", "content": [{"type": "text", "text": "You are short."}]},
        {"role": "user", "name": "ann", "content": [
            {"type": "text", "text": "What is "}, {"type": "text", "text": "2 + 2?"},
        ]},
    ]  # fmt: skip
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=8, user="ann", store=False)
    assert answer.choices[0].message.role == "assistant"


def stream() -> None:
    chunks = list(client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=20, stream=True,
        stream_options={"include_usage": True},
    ))  # fmt: skip
    assert chunks[-1].usage and not chunks[-1].choices
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")


def logprobs() -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=4, logprobs=True, top_logprobs=3
    )
    content = answer.choices[0].logprobs and answer.choices[0].logprobs.content
    assert content and all(len(token.top_logprobs) == 3 for token in content)


def several_choices() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, n=2, max_tokens=4, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1]


def forced_calls_and_their_results() -> None:
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        answer = client.chat.completions.create(
            model=MODEL, messages=QUESTION, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, max_tokens=200
        )
        message = answer.choices[0].message
        assert message.tool_calls and len(message.tool_calls) == 1
        call: Any = message.tool_calls[0]
        Weather.model_validate_json(call.function.arguments)
        assert call.function.name == "weather"
        assert answer.choices[0].finish_reason in ("tool_calls", "stop")
        told: Any = [*QUESTION, message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        after = client.chat.completions.create(
            model=MODEL, messages=told, tools=TOOLS, tool_choice="none", max_tokens=9
        )
        assert after.choices[0].message.tool_calls is None


def streamed_call() -> None:
    name, arguments, reasons = "", "", []
    for chunk in client.chat.completions.create(
        model=MODEL, messages=QUESTION, tools=TOOLS, tool_choice="required", max_tokens=200, stream=True
    ):
        for choice in chunk.choices:
            reasons.append(choice.finish_reason)
            for call in choice.delta.tool_calls or []:
                name += (call.function and call.function.name) or ""
                arguments += (call.function and call.function.arguments) or ""
    Weather.model_validate_json(arguments)
    assert (name, reasons[-1]) == ("weather", "tool_calls")


def parsed_call() -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=QUESTION, tools=TOOLS, tool_choice="required", max_tokens=200
    )
    calls = answer.choices[0].message.tool_calls
    assert calls and isinstance(calls[0].function.parsed_arguments, Weather)


def parsed_answer() -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Event, max_tokens=400)
    assert isinstance(answer.choices[0].message.parsed, Event)


def streamed_parsed_answer() -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=QUESTION, response_format=Event, max_tokens=400
    ) as events:
        kinds = {event.type for event in events}
        assert {"content.delta", "content.done"} <= kinds
        assert isinstance(events.get_final_completion().choices[0].message.parsed, Event)


def json_object() -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Answer in JSON: 1 + 1?"}],
        response_format={"type": "json_object"}, max_tokens=400,
    )  # fmt: skip
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def completions() -> None:
    answer = client.completions.create(model=MODEL, prompt=["One,", "Two,"], max_tokens=4, logprobs=1, stop=["\n"])
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert "".join(chunk.choices[0].text for chunk in client.completions.create(
        model=MODEL, prompt="One, two,", max_tokens=4, stream=True
    ) if chunk.choices)  # fmt: skip


def errors() -> None:
    try:
        client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=-1)
    except openai.BadRequestError as error:
        assert error.body and "temperature" in str(error.body)
    else:
        raise AssertionError("a negative temperature was taken")


async def asynchronous() -> None:
    async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0) as other:
        answer = await other.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=4)
        assert answer.choices[0].message.content is not None


run(
    models, chat, content_in_parts, stream, logprobs, several_choices, forced_calls_and_their_results, streamed_call,
    parsed_call, parsed_answer, streamed_parsed_answer, json_object, completions, errors, asynchronous,
)  # fmt: skip

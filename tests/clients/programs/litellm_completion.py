"""LiteLLM, which names a server's kind before the model: openai, hosted_vllm, text-completion-openai."""

# /// script
# dependencies = ["litellm"]
# ///

from __future__ import annotations

import os
from typing import Any, Literal

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no prices from the internet

import litellm
from _steps import API_KEY, BASE_URL, MODEL, run
from pydantic import BaseModel, Field

litellm.suppress_debug_info = True
litellm.telemetry = False
QUESTION = [{"role": "user", "content": "What is 17 + 25?"}]
KINDS = ("openai", "hosted_vllm")


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)
    room: int | None = Field(ge=0, le=99)


TOOLS = [{"type": "function", "function": {
    "name": "weather", "description": "The weather of a city.", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}}, "required": ["city"],
        "additionalProperties": False,
    },
}}]  # fmt: skip


def ask(kind: str, **options: Any) -> Any:
    return litellm.completion(
        model=f"{kind}/{MODEL}", messages=QUESTION, api_base=BASE_URL, api_key=API_KEY, max_retries=0, num_retries=0,
        **options,
    )  # fmt: skip


def chat() -> None:
    for kind in KINDS:
        answer = ask(kind, max_tokens=20, temperature=0, seed=1, user="ann")
        assert answer.choices[0].message.content and answer.usage.completion_tokens > 0


def stream() -> None:
    for kind in KINDS:
        chunks = list(ask(kind, max_tokens=20, stream=True, stream_options={"include_usage": True}))
        assert litellm.stream_chunk_builder(chunks, messages=QUESTION).choices[0].message.content


def tools() -> None:
    for kind in KINDS:
        answer = ask(kind, max_tokens=100, tools=TOOLS, tool_choice="required")
        assert answer.choices[0].message.tool_calls[0].function.name == "weather"
        assert answer.choices[0].finish_reason == "tool_calls"


def streamed_tools() -> None:
    chunks = list(ask("openai", max_tokens=100, tools=TOOLS, tool_choice="required", stream=True))
    call = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls[0].function
    assert call.name == "weather" and "city" in call.arguments


def structured() -> None:
    for kind in KINDS:
        Event.model_validate_json(ask(kind, max_tokens=400, response_format=Event).choices[0].message.content)


def completion() -> None:
    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="One, two,", api_base=BASE_URL, api_key=API_KEY, max_tokens=4
    )
    assert isinstance(answer.choices[0].text, str)


def errors() -> None:
    try:
        ask("openai", temperature=-1)
    except litellm.BadRequestError as error:
        assert "temperature" in str(error)
    else:
        raise AssertionError("a negative temperature was taken")


async def asynchronous() -> None:
    answer = await litellm.acompletion(
        model=f"openai/{MODEL}", messages=QUESTION, api_base=BASE_URL, api_key=API_KEY, max_tokens=4
    )
    assert answer.choices[0].message.content is not None


run(chat, stream, tools, streamed_tools, structured, completion, errors, asynchronous)

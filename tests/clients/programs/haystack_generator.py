"""Haystack's OpenAIChatGenerator and OpenAIGenerator."""

# /// script
# dependencies = ["haystack-ai"]
# ///

from __future__ import annotations

import os
from typing import Any, Literal

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from _steps import API_KEY, BASE_URL, MODEL, run
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from pydantic import BaseModel, Field

QUESTION = [ChatMessage.from_system("You are short."), ChatMessage.from_user("What is 17 + 25?")]


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)


def weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


TOOL = create_tool_from_function(weather)


def generator(**options: Any) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(
        api_key=Secret.from_token(API_KEY), api_base_url=BASE_URL, model=MODEL, max_retries=0, **options
    )


def chat() -> None:
    (reply,) = generator(generation_kwargs={"max_tokens": 20}).run(QUESTION)["replies"]
    assert reply.text and reply.meta["finish_reason"] in ("stop", "length") and reply.meta["usage"]["completion_tokens"]


def stream() -> None:
    parts: list[str] = []
    (reply,) = generator(streaming_callback=lambda chunk: parts.append(chunk.content)).run(
        QUESTION, generation_kwargs={"max_tokens": 20, "stream_options": {"include_usage": True}}
    )["replies"]
    assert "".join(parts) == reply.text and reply.meta["usage"]["completion_tokens"] > 0


def tools() -> None:
    for options in ({}, {"tools_strict": True}):
        component = generator(tools=[TOOL], **options)
        (reply,) = component.run(QUESTION, generation_kwargs={"tool_choice": "required", "max_tokens": 100})["replies"]
        assert reply.tool_calls[0].tool_name == "weather"
        told = ChatMessage.from_tool("sunny", origin=reply.tool_calls[0])
        assert component.run([*QUESTION, reply, told], generation_kwargs={"max_tokens": 10})["replies"]


def structured() -> None:
    component = generator(generation_kwargs={"response_format": Event, "max_tokens": 400})
    (reply,) = component.run(QUESTION)["replies"]
    Event.model_validate_json(reply.text)


def agent() -> None:
    component = generator(generation_kwargs={"tool_choice": "required", "max_tokens": 100})
    answer = Agent(chat_generator=component, tools=[TOOL], exit_conditions=["weather"]).run(messages=QUESTION[1:])
    assert any(message.tool_call_results for message in answer["messages"])


run(chat, stream, tools, structured, agent)

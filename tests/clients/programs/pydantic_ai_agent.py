"""Pydantic AI's agents: output by a tool, by the server's own structured answers, and by the prompt."""

# /// script
# dependencies = ["pydantic-ai-slim[openai]"]
# ///

from __future__ import annotations

from typing import Any, Literal

import openai
from _steps import API_KEY, BASE_URL, MODEL, run
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelRequest, NativeOutput, ToolOutput
from pydantic_ai.direct import model_request
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

SETTINGS: Any = {"max_tokens": 300, "temperature": 0.7, "seed": 1}


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)
    room: int | None = Field(ge=0, le=99)


def model() -> OpenAIChatModel:
    """Of its own for each step, as connections belong to an event loop."""
    client = openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)
    return OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))


def chat() -> None:
    agent = Agent(model(), instructions="You are short.", model_settings={"max_tokens": 20})
    assert agent.run_sync("What is 17 + 25?").output


async def stream() -> None:
    async with Agent(model(), model_settings={"max_tokens": 20}).run_stream("What is 17 + 25?") as answer:
        parts = [part async for part in answer.stream_text(delta=True)]
    assert "".join(parts)


def tool_output() -> None:
    for output in (Event, ToolOutput(Event, strict=True)):
        answer = Agent(model(), output_type=output, retries=0, model_settings=SETTINGS).run_sync("Ann and Bob meet.")
        assert isinstance(answer.output, Event)


def one_of_several_outputs() -> None:
    agent = Agent(model(), output_type=[Event, Person], retries=0, model_settings=SETTINGS)
    assert isinstance(agent.run_sync("Ann and Bob meet.").output, Event | Person)


def native_output() -> None:
    agent = Agent(model(), output_type=NativeOutput(Event), retries=0, model_settings=SETTINGS)
    assert isinstance(agent.run_sync("Ann and Bob meet.").output, Event)


async def streamed_output() -> None:
    async with Agent(model(), output_type=Event, model_settings=SETTINGS).run_stream("Ann and Bob meet.") as answer:
        assert isinstance(await answer.get_output(), Event)


def tools_are_offered() -> None:
    agent = Agent(model(), model_settings={**SETTINGS, "max_tokens": 60})

    @agent.tool_plain
    def weather(city: Literal["Paris", "Rome"]) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    assert agent.run_sync("What is 17 + 25?").output


async def a_call() -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"],
              "additionalProperties": False}  # fmt: skip
    tool = ToolDefinition(name="weather", description="The weather of a city.", parameters_json_schema=schema)
    answer = await model_request(
        model(), [ModelRequest.user_text_prompt("What is the weather in Rome?")], model_settings=SETTINGS,
        model_request_parameters=ModelRequestParameters(function_tools=[tool], allow_text_output=False),
    )  # fmt: skip
    (call,) = [part for part in answer.parts if isinstance(part, ToolCallPart)][:1]
    assert call.tool_name == "weather" and call.args_as_dict()["city"] in ("Paris", "Rome")
    assert answer.usage.output_tokens > 0


run(chat, stream, tool_output, one_of_several_outputs, native_output, streamed_output, tools_are_offered, a_call)

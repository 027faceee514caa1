"""OpenAI's Agents SDK, with chat completions."""

# /// script
# dependencies = ["openai-agents"]
# ///

from __future__ import annotations

from typing import Literal

import openai
from _steps import API_KEY, BASE_URL, MODEL, run
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel, Field

set_tracing_disabled(True)
SETTINGS = ModelSettings(max_tokens=300, temperature=0.7)


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)
    room: int | None = Field(ge=0, le=99)


CALLS: list[str] = []


@function_tool
def weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather of a city."""
    CALLS.append(city)
    return f"sunny in {city}"


def model() -> OpenAIChatCompletionsModel:
    client = openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0)
    return OpenAIChatCompletionsModel(MODEL, openai_client=client)


async def chat() -> None:
    settings = ModelSettings(max_tokens=20)
    agent = Agent("calculator", instructions="You are short.", model=model(), model_settings=settings)
    answer = await Runner.run(agent, "What is 17 + 25?")
    assert answer.final_output
    assert answer.context_wrapper.usage.output_tokens > 0


async def stream() -> None:
    agent = Agent("calculator", model=model(), model_settings=ModelSettings(max_tokens=20, include_usage=True))
    answer = Runner.run_streamed(agent, "What is 17 + 25?")
    kinds = [event.data.type async for event in answer.stream_events() if event.type == "raw_response_event"]
    assert "response.output_text.delta" in kinds and answer.final_output


async def structured() -> None:
    agent = Agent("planner", model=model(), output_type=Event, model_settings=SETTINGS)
    assert isinstance((await Runner.run(agent, "Ann and Bob meet.")).final_output, Event)


async def tools() -> None:
    """A forced call, whose result the agent is told of; its next turn is free."""
    CALLS.clear()
    settings = ModelSettings(max_tokens=200, temperature=0, tool_choice="required", parallel_tool_calls=False)
    agent = Agent("forecaster", model=model(), tools=[weather], model_settings=settings)
    await Runner.run(agent, "What is the weather in Rome?", max_turns=4)
    assert CALLS and set(CALLS) <= {"Paris", "Rome"}


async def streamed_tools() -> None:
    CALLS.clear()
    agent = Agent(
        "forecaster", model=model(), tools=[weather], tool_use_behavior="stop_on_first_tool",
        model_settings=ModelSettings(max_tokens=200, tool_choice="weather"),
    )  # fmt: skip
    answer = Runner.run_streamed(agent, "What is the weather in Rome?")
    async for _ in answer.stream_events():
        pass
    assert CALLS and answer.final_output.startswith("sunny")


run(chat, stream, structured, tools, streamed_tools)

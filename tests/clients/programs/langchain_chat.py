"""LangChain's ChatOpenAI."""

# /// script
# dependencies = ["langchain-openai"]
# ///

from __future__ import annotations

from typing import Any, Literal

from _steps import API_KEY, BASE_URL, MODEL, run
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from openai import LengthFinishReasonError
from pydantic import BaseModel, Field

common: Any = {"model": MODEL, "base_url": BASE_URL, "api_key": API_KEY, "max_retries": 0}
model = ChatOpenAI(**common, temperature=0.7, seed=3, max_tokens=400)
QUESTION = [SystemMessage("You are short."), HumanMessage("What is 17 + 25?")]


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)
    room: int | None = Field(ge=0, le=99)


@tool
def weather(city: Literal["Paris", "Rome"], days: Literal[1, 2, 3]) -> str:
    """The weather in a city."""
    return f"sunny in {city} for {days} days"


def chat() -> None:
    answer = model.invoke(QUESTION, max_tokens=20)
    assert answer.content and answer.usage_metadata and answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["finish_reason"] in ("stop", "length")


def stream() -> None:
    whole: Any = None
    for chunk in model.stream(QUESTION, max_tokens=20, stream_usage=True):
        whole = chunk if whole is None else whole + chunk
    assert whole.content and whole.usage_metadata["output_tokens"] > 0


def batch() -> None:
    assert len(model.batch([QUESTION, QUESTION, QUESTION], max_tokens=5)) == 3


def logprobs() -> None:
    answer = model.bind(logprobs=True, top_logprobs=2).invoke(QUESTION, max_tokens=5)
    assert answer.response_metadata["logprobs"]["content"]


def tools() -> None:
    for choice in ("any", "weather"):
        answer = model.bind_tools([weather], tool_choice=choice).invoke(QUESTION)
        assert [call["name"] for call in answer.tool_calls][:1] == ["weather"] and not answer.invalid_tool_calls
        told = [*QUESTION, answer, *(weather.invoke(call) for call in answer.tool_calls)]
        assert isinstance(told[-1], ToolMessage)
        assert isinstance(model.bind_tools([weather], tool_choice="none").invoke(told, max_tokens=9).content, str)


def streamed_tools() -> None:
    whole: Any = None
    for chunk in model.bind_tools([weather], tool_choice="any", strict=True).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert whole.tool_calls[0]["name"] == "weather" and set(whole.tool_calls[0]["args"]) == {"city", "days"}


def structured_json_schema() -> None:
    assert isinstance(model.with_structured_output(Event, method="json_schema").invoke(QUESTION), Event)


def structured_function_calling() -> None:
    for options in ({}, {"strict": True}):
        answer = model.with_structured_output(Event, method="function_calling", **options).invoke(QUESTION)
        assert isinstance(answer, Event)


def structured_json_mode() -> None:
    """Any JSON object: a small model may go on until it is stopped."""
    other = model.with_structured_output(method="json_mode")
    try:
        assert isinstance(other.invoke([HumanMessage("Answer in JSON with a title: what is 17 + 25?")]), dict)
    except LengthFinishReasonError as error:
        assert (error.completion.choices[0].message.content or "").lstrip().startswith("{")


def structured_dict() -> None:
    schema = {"title": "age", "description": "An age", "type": "object",
              "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["age"]}  # fmt: skip
    assert "age" in model.with_structured_output({**schema, "additionalProperties": False}).invoke(QUESTION)


def completion() -> None:
    assert isinstance(OpenAI(**common, max_tokens=5).invoke("One, two,"), str)
    assert "".join(OpenAI(**common, max_tokens=5).stream("One, two,"))


run(
    chat, stream, batch, logprobs, tools, streamed_tools, structured_json_schema, structured_function_calling,
    structured_json_mode, structured_dict, completion,
)  # fmt: skip

"""LlamaIndex's OpenAILike."""

# /// script
# dependencies = ["llama-index-llms-openai-like"]
# ///

from typing import Literal

from _steps import API_KEY, BASE_URL, MODEL, run
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

llm = OpenAILike(
    model=MODEL, api_base=BASE_URL, api_key=API_KEY, is_chat_model=True, is_function_calling_model=True,
    should_use_structured_outputs=True, context_window=1024, max_tokens=300, max_retries=0, temperature=0.7,
)  # fmt: skip
QUESTION = [ChatMessage("You are short.", role="system"), ChatMessage("What is 17 + 25?")]


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)
    room: int | None = Field(ge=0, le=99)


def weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


TOOL = FunctionTool.from_defaults(weather)


def chat() -> None:
    assert llm.chat(QUESTION, max_tokens=20).message.content
    assert llm.complete("What is 17 + 25?", max_tokens=20).text


def stream() -> None:
    assert [*llm.stream_chat(QUESTION, max_tokens=20)][-1].message.content


def tools() -> None:
    answer = llm.chat_with_tools([TOOL], chat_history=QUESTION, tool_required=True)
    calls = llm.get_tool_calls_from_response(answer)
    assert [call.tool_name for call in calls][:1] == ["weather"]


def streamed_tools() -> None:
    last = [*llm.stream_chat_with_tools([TOOL], chat_history=QUESTION, tool_required=True)][-1]
    assert llm.get_tool_calls_from_response(last)[0].tool_name == "weather"


def predict_and_call() -> None:
    answer = llm.predict_and_call([TOOL], chat_history=QUESTION, tool_required=True)
    assert answer.response.startswith("sunny in")


def structured() -> None:
    event = llm.structured_predict(Event, PromptTemplate("Ann and Bob meet in room {room}."), room=7)
    assert isinstance(event, Event)
    answer = llm.as_structured_llm(Event).chat(QUESTION)
    assert isinstance(answer.raw, Event)


def structured_by_a_call() -> None:
    other = llm.model_copy(update={"should_use_structured_outputs": False})
    assert isinstance(other.structured_predict(Event, PromptTemplate("Ann and Bob meet.")), Event)


def completion() -> None:
    other = OpenAILike(model=MODEL, api_base=BASE_URL, api_key=API_KEY, is_chat_model=False, max_retries=0)
    assert isinstance(other.complete("One, two,", max_tokens=5).text, str)
    assert [*other.stream_complete("One, two,", max_tokens=5)]


async def asynchronous() -> None:
    assert (await llm.achat(QUESTION, max_tokens=5)).message.content is not None


run(chat, stream, tools, streamed_tools, predict_and_call, structured, structured_by_a_call, completion, asynchronous)

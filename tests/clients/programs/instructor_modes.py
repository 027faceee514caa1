"""instructor, in its modes."""

# /// script
# dependencies = ["instructor"]
# ///

from __future__ import annotations

from typing import Any, Literal

import instructor
import openai
from _steps import API_KEY, BASE_URL, MODEL, run
from instructor.core import IncompleteOutputException, InstructorRetryException
from pydantic import BaseModel, Field

QUESTION: Any = [{"role": "user", "content": "Ann and Bob meet in room 7."}]


class Person(BaseModel):
    """Somebody who takes part."""

    name: str = Field(max_length=12)
    role: Literal["speaker", "guest"]


class Event(BaseModel):
    """A meeting."""

    title: str = Field(max_length=12)
    people: list[Person] = Field(max_length=2)
    room: int | None = Field(default=None, ge=0, le=99)


def client(mode: instructor.Mode) -> Any:
    return instructor.from_openai(openai.OpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0), mode=mode)


def asked(mode: instructor.Mode, form: type[BaseModel] = Event) -> None:
    answer = client(mode).chat.completions.create(
        model=MODEL, messages=QUESTION, response_model=form, max_tokens=400, max_retries=0
    )
    assert isinstance(answer, form)


def tools() -> None:
    asked(instructor.Mode.TOOLS)


def tools_strict() -> None:
    asked(instructor.Mode.TOOLS_STRICT)


def json_schema() -> None:
    asked(instructor.Mode.JSON_SCHEMA)


def json_object() -> None:
    """The mode whose request says JSON, and whose prompt alone holds the schema, which a small model may miss."""
    try:
        asked(instructor.Mode.JSON, Person)
    except (IncompleteOutputException, InstructorRetryException) as error:
        assert error.last_completion is not None, error  # the server answered


def simple_type() -> None:
    number = client(instructor.Mode.TOOLS).chat.completions.create(
        model=MODEL, messages=QUESTION, response_model=bool, max_tokens=100, max_retries=0
    )
    assert number in (True, False)


def partial() -> None:
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        parts = list(client(mode).chat.completions.create_partial(
            model=MODEL, messages=QUESTION, response_model=Event, max_tokens=400, max_retries=0
        ))  # fmt: skip
        assert len(parts) > 1, f"{mode}: the answer came in one piece"
        Event.model_validate(parts[-1].model_dump())


async def asynchronous() -> None:
    other = instructor.from_openai(openai.AsyncOpenAI(base_url=BASE_URL, api_key=API_KEY, max_retries=0))
    event = await other.chat.completions.create(
        model=MODEL, messages=QUESTION, response_model=Event, max_tokens=400, max_retries=0
    )
    assert isinstance(event, Event)


run(tools, tools_strict, json_schema, json_object, simple_type, partial, asynchronous)

"""The official client, unchanged, against the server on the demo model."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import openai
import pydantic
import pytest

from ftllm_nb import llm
from tests.serving.server_process import ServerProcess

SUM = [{"role": "user", "content": "What is 17 + 25?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Paris", "Rome"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def ask(client: openai.OpenAI, question: str, **options: Any) -> str:
    answer = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": question}], temperature=0, **options
    )
    return answer.choices[0].message.content or ""


def test_an_answer_is_that_of_the_python_api(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=SUM, temperature=0)
    assert answer.choices[0].message.content == "42" and answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    with llm.model("demo", threads=1) as model:
        assert answer.usage.prompt_tokens == len(model.prompt_ids("What is 17 + 25?"))
        for question in ("What is the capital of France?", "Count from 3 to 9."):
            assert ask(client, question) == model.response(question, temperature=0)


def test_a_stream_is_the_answer_in_pieces(client: openai.OpenAI) -> None:
    question = "Count from 3 to 9."
    stream = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": question}],
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == ask(client, question) and len([piece for piece in pieces if piece]) > 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 5
    assert chunks[-1].model_extra["timings"]["predicted_n"] == chunks[-1].usage.completion_tokens


def test_usage_may_come_with_every_piece(client: openai.OpenAI) -> None:
    options: Any = {"include_usage": True, "continuous_usage_stats": True}
    messages: Any = [{"role": "user", "content": "Count from 3 to 9."}]
    stream = client.chat.completions.create(model="demo", messages=messages, stream=True, stream_options=options)
    counts = [chunk.usage.completion_tokens for chunk in stream if chunk.usage]
    assert counts == sorted(counts) and len(set(counts)) > 5 and counts[0] <= 1
    whole = client.chat.completions.create(model="demo", messages=messages)
    assert whole.usage and counts[-1] == whole.usage.completion_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_end_the_text_before_them(client: openai.OpenAI, stream: bool) -> None:
    whole = ask(client, "Count from 3 to 9.")
    stop = whole[4:7]
    options: Any = {"temperature": 0, "stop": [stop, "never there"], "stream": stream}
    answer: Any = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Count from 3 to 9."}], **options
    )
    if stream:
        choices = [chunk.choices[0] for chunk in answer]
        text, reason = "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason
    else:
        text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert text == whole[: whole.index(stop)] and reason == "stop"


def test_max_tokens_cuts_the_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="demo", messages=SUM, temperature=0, max_completion_tokens=1
    )
    assert answer.choices[0].finish_reason == "length" and answer.usage is not None
    assert answer.usage.completion_tokens == 1


def test_seeded_choices_are_repeatable_and_differ(client: openai.OpenAI) -> None:
    def choices(seed: int) -> list[str]:
        answer = client.completions.create(
            model="demo", prompt="The", temperature=2, top_p=1, n=4, seed=seed, max_tokens=12, extra_body={"top_k": 0}
        )
        assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
        return [choice.text for choice in answer.choices]

    assert choices(5) == choices(5)
    assert len(set(choices(5))) > 1
    assert choices(5) != choices(77)


def test_logprobs_are_equal_alone_and_beside_others(client: openai.OpenAI) -> None:
    def logprobs(question: str) -> list[tuple[str, float, list[tuple[str, float]]]]:
        answer = client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": question}], temperature=0, logprobs=True, top_logprobs=3
        )
        found = answer.choices[0].logprobs
        assert found is not None and found.content is not None
        assert "".join(each.token for each in found.content) == answer.choices[0].message.content
        return [
            (each.token, each.logprob, [(top.token, top.logprob) for top in each.top_logprobs])
            for each in found.content
        ]

    questions = [f"What is {a} + {b}?" for a in (17, 3, 20) for b in (5, 11, 25)]
    alone = [logprobs(question) for question in questions]
    with ThreadPoolExecutor(9) as threads:
        beside = list(threads.map(logprobs, questions))
    assert beside == alone
    for tokens in alone:
        for token, logprob, top in tokens:
            assert logprob <= 0 and top[0] == (token, logprob) and len(top) == 3


def test_completions_continue_prompts(client: openai.OpenAI) -> None:
    prompt = "<|im_start|>user\nWhat is 17 + 25?<|im_end|>\n<|im_start|>assistant\n"
    plain = client.completions.create(
        model="demo", prompt=["What is", "The capital"], max_tokens=4, temperature=0, logprobs=2
    )
    assert [choice.index for choice in plain.choices] == [0, 1]
    for choice in plain.choices:
        assert choice.logprobs is not None and choice.logprobs.tokens is not None
        assert "".join(choice.logprobs.tokens) == choice.text
        assert len(choice.logprobs.top_logprobs or []) == len(choice.logprobs.tokens) <= 4
        assert choice.finish_reason == "stop" or len(choice.logprobs.tokens) == 4
    with llm.model("demo", threads=1) as model:
        ids = model.tokenizer.encode_prompt(prompt)
        trusted = client.completions.create(model="demo", prompt=ids, temperature=0)
        assert trusted.choices[0].text == "42"
    # Who writes a prompt means its control tokens, unless parse_special says otherwise.
    meant = client.completions.create(model="demo", prompt=prompt, temperature=0)
    inert = client.completions.create(model="demo", prompt=prompt, temperature=0, extra_body={"parse_special": False})
    assert meant.choices[0].text == "42"
    assert inert.usage is not None and meant.usage is not None and trusted.usage is not None
    assert inert.usage.prompt_tokens > meant.usage.prompt_tokens == trusted.usage.prompt_tokens


def test_penalties_and_biases_change_the_answer(client: openai.OpenAI) -> None:
    with llm.model("demo", threads=1) as model:
        (four,) = model.tokenizer.encode_text("4")
    answer = client.chat.completions.create(
        model="demo", messages=SUM, temperature=0, logit_bias={str(four): -100}, max_tokens=5
    )
    assert "4" not in (answer.choices[0].message.content or "")
    repeated = "Count from 1 to 20."
    assert ask(client, repeated, frequency_penalty=2, presence_penalty=2, max_tokens=60) != ask(client, repeated)


def test_json_objects_and_schemas_are_followed(client: openai.OpenAI) -> None:
    free = client.chat.completions.create(
        model="demo", messages=SUM, response_format={"type": "json_object"}, temperature=1, seed=3, max_tokens=200
    )
    if free.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(free.choices[0].message.content or ""), dict)
    for seed in range(6):
        answer = client.chat.completions.create(
            model="demo",
            messages=SUM,
            response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}},
            temperature=1.5,
            seed=seed,
            max_tokens=150,
        )
        assert answer.choices[0].finish_reason == "stop"
        person = json.loads(answer.choices[0].message.content or "")
        assert set(person) == {"name", "age"} and 0 <= person["age"] <= 99 and len(person["name"]) <= 12


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_forced_call_follows_the_functions_schema(client: openai.OpenAI, choice: Any) -> None:
    forced: Any = {"messages": SUM, "tools": [WEATHER], "tool_choice": choice, "seed": 1, "max_tokens": 100}
    answer = client.chat.completions.create(model="demo", temperature=1, **forced)
    (call,) = answer.choices[0].message.tool_calls or []
    assert answer.choices[0].finish_reason == "tool_calls" and answer.choices[0].message.content is None
    assert call.type == "function" and call.function.name == "get_weather" and call.id.startswith("call_")
    arguments = json.loads(call.function.arguments)
    assert arguments["city"] in ("Paris", "Rome") and 1 <= arguments["days"] <= 7
    stream: Any = client.chat.completions.create(model="demo", temperature=1, stream=True, **forced)
    deltas = [chunk.choices[0] for chunk in stream]
    parts = [call for delta in deltas for call in delta.delta.tool_calls or []]
    assert [part.index for part in parts] == [0] * len(parts) and len(parts) > 2
    assert parts[0].id and parts[0].function.name == "get_weather"
    assert not any(part.id or part.function.name for part in parts[1:])
    assert json.loads("".join(part.function.arguments for part in parts)) == arguments
    assert deltas[-1].finish_reason == "tool_calls"


def test_a_forced_call_that_is_cut_is_no_text(client: openai.OpenAI) -> None:
    forced: Any = {"messages": SUM, "tools": [WEATHER], "tool_choice": "required", "seed": 1, "logprobs": True}
    for most in (1, 4, 9, 25):
        (choice,) = client.chat.completions.create(model="demo", max_tokens=most, **forced).choices
        assert (choice.finish_reason, choice.message.content) == ("length", None)
        assert choice.logprobs is None or choice.logprobs.content == []
        stream: Any = client.chat.completions.create(model="demo", max_tokens=most, stream=True, **forced)
        assert {chunk.choices[0].delta.content for chunk in stream} == {None}, "helpers tell of empty texts, too"


class Weather(pydantic.BaseModel):
    """A question about the weather."""

    city: Literal["Paris", "Rome"]
    days: int = pydantic.Field(ge=1, le=7)


def test_the_clients_own_helpers_parse_answers_and_calls(client: openai.OpenAI) -> None:
    options: Any = {"model": "demo", "messages": SUM, "temperature": 1, "seed": 6, "max_tokens": 100}
    parsed = client.chat.completions.parse(response_format=Weather, **options)
    assert isinstance(parsed.choices[0].message.parsed, Weather)
    tools: Any = [openai.pydantic_function_tool(Weather)]
    with client.chat.completions.stream(tools=tools, tool_choice="required", **options) as stream:
        kinds = {event.type for event in stream}
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Weather)
    assert "tool_calls.function.arguments.done" in kinds
    with client.chat.completions.stream(model="demo", messages=SUM, temperature=0) as stream:
        done = [event.content for event in stream if event.type == "content.done"]
    assert done == ["42"]


def test_tools_that_are_not_called_leave_the_answer_alone(client: openai.OpenAI) -> None:
    tools: Any = [WEATHER]
    answer = client.chat.completions.create(model="demo", messages=SUM, tools=tools, temperature=0)
    assert answer.choices[0].message.content == "42" and answer.choices[0].message.tool_calls is None


def test_a_conversation_with_calls_and_parts_is_understood(client: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "developer", "content": "You are a helpful assistant."},
        {"role": "user", "content": [{"type": "text", "text": "The weather?"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Rome\"}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "Sunny"},
        {"role": "user", "content": "What is 17 + 25?"},
    ]
    answer = client.chat.completions.create(model="demo", messages=messages, temperature=0)
    assert answer.choices[0].message.content


def test_models_are_listed(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "demo" and client.models.retrieve("demo").id == "demo"
    with pytest.raises(openai.NotFoundError, match="there is 'demo'"):
        client.models.retrieve("gpt-4")
    # There is one model, so that a request by any name is for it.
    answer = client.chat.completions.create(model="gpt-4", messages=SUM, max_tokens=1)
    assert answer.model == "demo" and (answer.system_fingerprint or "").startswith("fp_")


def test_the_next_turn_finds_the_conversation_in_the_cache(client: openai.OpenAI, server: ServerProcess) -> None:
    conversation: list[Any] = [{"role": "user", "content": "My name is Bartholomew. " * 8}]
    first = client.chat.completions.create(model="demo", messages=conversation, temperature=0)
    conversation += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "What is my name?"},
    ]
    second = client.chat.completions.create(model="demo", messages=conversation, temperature=0)
    assert second.usage is not None and second.usage.prompt_tokens_details is not None
    assert second.usage.prompt_tokens_details.cached_tokens is not None
    assert second.usage.prompt_tokens_details.cached_tokens >= 64
    assert server.metric("cached_tokens_total") >= 64

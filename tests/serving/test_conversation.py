"""Messages in OpenAI's form, and a model whose chat template knows neither a system role nor tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.conversation import lost_results, template_messages
from ftllm_nb.tokenizer.template_fit import NO_TOOLS
from tests.puppet import TEMPLATE, write_puppet
from tests.serving.server_process import ServerProcess

SAYS = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
NO_SYSTEM = (
    "{% for message in messages %}{% if message.role not in ('user', 'assistant') %}"
    "{{ raise_exception('there is no role ' + message.role + ' here') }}{% endif %}{% endfor %}"
) + TEMPLATE[TEMPLATE.index("{% for message") :]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}]
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather?"}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = write_puppet(tmp_path_factory.mktemp("conversation") / "puppet", SAYS, NO_SYSTEM)
    with ServerProcess("-p", str(folder), "--kv_cache_limit", "100M") as server:
        yield f"{server.url}/v1/chat/completions"


def ask(url: str, **body: Any) -> dict[str, Any]:
    answer = httpx.post(url, json={"messages": QUESTION, "temperature": 0, **body}, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_tools_that_the_template_drops_are_called_all_the_same(url: str) -> None:
    """The client is told, and what the model writes as it was told to is a call."""
    found = ask(url, tools=TOOLS)
    assert found["warnings"] == [NO_TOOLS]
    (called,) = found["choices"][0]["message"]["tool_calls"]
    assert called["function"]["name"] == "get_weather"
    with_tools = found["usage"]["prompt_tokens"]
    without = ask(url, max_tokens=1)
    assert "warnings" not in without
    assert with_tools > without["usage"]["prompt_tokens"] + 20


def test_a_stream_tells_it_at_its_beginning(url: str) -> None:
    body = {"messages": QUESTION, "tools": TOOLS, "stream": True, "max_tokens": 2}
    with httpx.stream("POST", url, json=body, timeout=60) as answer:
        chunks = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
    assert [chunk.get("warnings") for chunk in chunks] == [[NO_TOOLS]] + [None] * (len(chunks) - 1)


@pytest.mark.parametrize("role", ["assistant", "tool", "function"])
def test_who_may_have_nothing_to_say(role: str) -> None:
    for content in ({}, {"content": None}):
        (message,) = template_messages([{"role": role, **content}], "")
        assert message["content"] == ""


def test_calls_of_a_history_reach_the_model(url: str) -> None:
    """In each form that clients have: today's, parts of a text, and the one before tools."""
    call = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    tools = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": call}]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "20"}]},
    ]
    functions = [
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "name": "get_weather", "content": "20"},
    ]
    empty = [{"role": "assistant", "content": ""}, {"role": "user", "content": "20"}]
    usages = [ask(url, messages=[*QUESTION, *more], max_tokens=1)["usage"] for more in (tools, functions, empty)]
    sizes = [usage["prompt_tokens"] for usage in usages]
    assert sizes[0] == sizes[1] > sizes[2] + 10


def test_forms_of_messages() -> None:
    call = {"name": "f", "arguments": "{}"}
    earlier = [{"role": "assistant", "content": None, "function_call": call}, {"role": "function", "content": "1"}]
    assistant, result = template_messages(earlier, "")
    assert assistant == {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}
    assert result == {"role": "tool", "content": "1"}
    (plain,) = template_messages([{"role": "assistant", "content": "a", "tool_calls": []}], "")
    assert "tool_calls" not in plain
    for calls in ("f", [1], [{"function": {}}], [{"function": "f"}], {"function": call}, [{"id": 1, "function": call}]):
        with pytest.raises(ApiError):
            template_messages([{"role": "assistant", "tool_calls": calls}], "")


def made_calls(*ids: str | None) -> dict[str, Any]:
    calls = [{**({"id": each} if each is not None else {}), "function": {"name": "f"}} for each in ids]
    return {"role": "assistant", "tool_calls": calls}


def result(**more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": "1", **more}


@pytest.mark.parametrize("messages", [
    [made_calls("a", "b"), result(tool_call_id="b"), result(tool_call_id="a")],
    [made_calls("a"), result(tool_call_id="a"), {"role": "user", "content": "?"}, result(tool_call_id="a")],
    [made_calls("a"), result()], [made_calls("a"), result(tool_call_id=None)],
    [made_calls("a"), result(tool_call_id="")],
    [made_calls(None), result(tool_call_id="x")], [made_calls("a", ""), result(tool_call_id="x")],
    [result()], [result(name="f")],
    [made_calls("a", "b"), {"role": "user", "content": "?"}],
])  # fmt: skip
def test_results_of_calls_that_were_made(messages: list[dict[str, Any]]) -> None:
    made = template_messages(messages, "")
    assert len(made) == len(messages) and lost_results(made) == []


def test_results_whose_calls_were_cut_off_are_taken_and_said(url: str) -> None:
    """As applications do that keep the end of a long conversation."""
    lost = [result(tool_call_id="x"), {"role": "user", "content": "?"}, made_calls("a"), result(tool_call_id="a")]
    (sentence,) = lost_results(template_messages(lost, ""))
    assert sentence.startswith("messages.0 is the result of a call that stands in no message before it")
    found = ask(url, messages=[{"role": "user", "content": "?"}, lost[0]], max_tokens=1)
    assert [each for each in found["warnings"] if "messages.1" in each]


@pytest.mark.parametrize("messages, words", [
    ([made_calls("b", "a"), result(tool_call_id="x")], "'x' is the id of no call before this message: those are a, b;"),
    ([made_calls("a"), {"role": "user", "content": "?"}, result(tool_call_id="b")], "those are a;"),
    ([made_calls("a"), result(tool_call_id=5)], "must be a text"),
])  # fmt: skip
def test_results_of_calls_that_nobody_made(messages: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ApiError) as refused:
        template_messages(messages, "")
    place = next(index for index, message in enumerate(messages) if message["role"] == "tool")
    assert (refused.value.status, refused.value.param) == (400, f"messages.{place}.tool_call_id")
    assert words in str(refused.value) and str(refused.value).endswith(".")

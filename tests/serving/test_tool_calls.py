"""Calls in the forms of Qwen and Llama, whole and piece by piece."""

from __future__ import annotations

import json
import random

import pytest

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.serving.tool_calls import LLAMA, QWEN, ToolCall, ToolCallParser, call_schema, form_of

NAMES = ["get_weather", "add"]
ROME = ToolCall("get_weather", '{"city": "Rome"}')
ADD = ToolCall("add", '{"a": 1, "b": {"c": "</tool_call"}}')
ROME_QWEN = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
ADD_QWEN = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": {"c": "</tool_call"}}}\n</tool_call>'
ROME_LLAMA = '{"name": "get_weather", "parameters": {"city": "Rome"}}'

CASES = [
    (QWEN, False, "Plain text, <b> and 1 < 2.", "Plain text, <b> and 1 < 2.", []),
    (QWEN, False, ROME_QWEN, "", [ROME]),
    (QWEN, False, f"Let me see.\n{ROME_QWEN}\n{ADD_QWEN}", "Let me see.\n", [ROME, ADD]),
    (QWEN, False, "<tool_call>\nno json\n</tool_call>", "<tool_call>\nno json\n</tool_call>", []),
    (QWEN, False, '<tool_call>{"name": "unknown"}</tool_call>', '<tool_call>{"name": "unknown"}</tool_call>', []),
    # The answer was cut after the JSON, or before.
    (QWEN, False, ROME_QWEN.removesuffix("\n</tool_call>"), "", [ROME]),
    (QWEN, False, ROME_QWEN[:40], ROME_QWEN[:40], []),
    (QWEN, True, '{"name": "get_weather", "arguments": {"city": "Rome"}}', "", [ROME]),
    (QWEN, True, '{"name": "get_w', '{"name": "get_w', []),
    (LLAMA, False, ROME_LLAMA, "", [ROME]),
    (LLAMA, False, f" {ROME_LLAMA}; {ROME_LLAMA}", "", [ROME, ROME]),
    (LLAMA, False, "It is 5; sunny.", "It is 5; sunny.", []),
    (LLAMA, False, '{"no": "call"}', '{"no": "call"}', []),
    (LLAMA, False, '{"name": "add", "parameters": {"a": ";"}}', "", [ToolCall("add", '{"a": ";"}')]),
]


@pytest.mark.parametrize("form, forced, text, content, calls", CASES)
def test_calls_are_found_however_the_text_is_cut(
    form: CallForm, forced: bool, text: str, content: str, calls: list[ToolCall]
) -> None:
    rng = random.Random(1)
    for longest in (1, 2, 7, 1000):
        parser = ToolCallParser(form, NAMES, forced)
        found_text, found_calls = "", []
        at = 0
        while at < len(text):
            length = rng.randint(1, longest)
            new_text, new_calls = parser.push(text[at : at + length])
            found_text, found_calls = found_text + new_text, found_calls + new_calls
            at += length
        new_text, new_calls = parser.finish()
        assert (found_text + new_text, found_calls + new_calls) == (content, calls)


def test_text_is_passed_on_at_once() -> None:
    parser = ToolCallParser(QWEN, NAMES, False)
    assert parser.push("Hello <to") == ("Hello ", [])
    assert parser.push("y>") == ("<toy>", [])


def test_the_form_is_the_templates() -> None:
    assert form_of("... <tool_call> ...") is QWEN
    assert form_of('{"name": function name, "parameters": dictionary}') is LLAMA
    assert form_of("nothing of the kind") is QWEN


def test_the_schema_of_a_call_names_each_function() -> None:
    functions = [{"name": "a", "parameters": {"type": "object"}}, {"name": "b"}]
    names = [each["properties"]["name"]["const"] for each in call_schema(QWEN, functions)["anyOf"]]
    assert names == ["a", "b"]
    assert set(call_schema(LLAMA, functions[:1])["properties"]) == {"name", "parameters"}
    assert json.loads(ROME.in_openai_form(3)["function"]["arguments"]) == {"city": "Rome"}
    assert ROME.in_openai_form(3)["index"] == 3

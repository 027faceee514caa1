"""Each template is given the shape of messages that it takes, whatever shape the caller's are in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftllm_nb.answers.call_form import CallForm
from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.chat_template import ChatTemplate
from ftllm_nb.tokenizer.messages import checked_messages
from ftllm_nb.tokenizer.template_fit import NO_TOOLS, fit, is_plain
from ftllm_nb.tokenizer.template_probe import TemplateShape, probe_template
from ftllm_nb.tokenizer.tool_text import HERMES, call_text, tools_text
from tests.tokenizer import chat_templates, template_shapes

VARIABLES = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "documents": None}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "of a city", "parameters": {"type": "object", "properties": {}}},
}


def call(city: str = "Paris", call_id: str | None = "c1", name: str = "get_weather") -> dict[str, Any]:
    made = {"type": "function", "function": {"name": name, "arguments": json.dumps({"city": city})}}
    return {**made, "id": call_id} if call_id else made


def said(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


HISTORY = [
    said("user", "Weather?"),
    said("assistant", None, tool_calls=[call()]),
    said("tool", "20", tool_call_id="c1"),
]


def shape_of(source: str) -> TemplateShape:
    template = ChatTemplate(source, "here")
    return probe_template(
        lambda messages, tools: template.render({**VARIABLES, "messages": messages, "tools": tools}), source
    )


def rendered(source: str, messages: list[dict[str, Any]], tools: list[Any] | None = None) -> str:
    """The prompt of messages as OpenAI's clients send them."""
    fitted = fit(checked_messages(messages), tools, shape_of(source), HERMES)
    return ChatTemplate(source, "here").render({**VARIABLES, "messages": fitted.messages, "tools": fitted.tools})


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("DEEPSEEK", {"calls": True, "arguments_are_text": True, "empty_content": None, "results": True,
                      "systems_anywhere": False}),
        ("CONTENT_IS_NONE", {"calls": True, "empty_content": None, "results": True, "content_beside_calls": False}),
        ("MISTRAL", {"tools": "wrapped", "calls": True, "results": True, "systems_anywhere": False,
                     "repeated_roles": False, "long_ids": False, "tiny_ids": False, "content_beside_calls": False}),
        ("GEMMA", {"system": False, "systems_anywhere": False, "repeated_roles": False}),
        ("LLAMA", {"tools": "wrapped", "calls": True, "results": True, "parallel_calls": False,
                   "content_beside_calls": False}),
        ("PARTS", {"texts": False, "parts": True}),
        ("NAMED_RESULTS", {"tools": "bare", "calls": True, "results": True, "result_names": True,
                           "content_beside_calls": False}),
    ],
)  # fmt: skip
def test_shapes(name: str, differs: dict[str, Any]) -> None:
    assert shape_of(getattr(template_shapes, name)) == TemplateShape(**differs)


def test_shapes_of_templates_that_know_no_calls() -> None:
    assert shape_of(chat_templates.CHATML) == TemplateShape(tools="wrapped", results=True)
    for source in (chat_templates.THINKING, chat_templates.HEADERS, chat_templates.ROLE_TOKENS):
        assert shape_of(source) == TemplateShape()
    assert shape_of(chat_templates.INSTRUCTIONS) == TemplateShape(systems_anywhere=False, repeated_roles=False)
    assert shape_of("{{ raise_exception('no') }}") == TemplateShape(
        system=False, systems_anywhere=False, repeated_roles=False
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "DEEPSEEK",
            '<|User|>Weather?<|call|>function<|sep|>get_weather {"city": "Paris"}<|/call|><|output|>20<|/output|>'
            "<|Assistant|>",
        ),
        ("CONTENT_IS_NONE", "<user>Weather?<assistant>CALL get_weather<tool>20<assistant>"),
        (
            "LLAMA",
            '<s><h>user</h>Weather?<e><h>assistant</h>{"name": "get_weather", "parameters": {"city": "Paris"}}<e>'
            "<h>ipython</h>20<e><h>assistant</h>",
        ),
        ("NAMED_RESULTS", "<user>Weather?<get_weather>city=Paris<result of get_weather>20"),
    ],
)
def test_calls_in_the_templates_own_shape(name: str, expected: str) -> None:
    assert rendered(getattr(template_shapes, name), HISTORY) == expected


def test_ids_that_a_template_allows() -> None:
    """Made of the given ones, so that a call and its result still belong together; those that are right stay."""
    for call_id in ("c1", "call_0123456789"):
        messages = [HISTORY[0], said("assistant", None, tool_calls=[call(call_id=call_id)]),
                    said("tool", "20", tool_call_id=call_id)]  # fmt: skip
        text = rendered(template_shapes.MISTRAL, messages)
        used = text.split('"Paris"}}')[1][:9]
        assert used.isalnum() and text.endswith(f"[RESULT]20{used}[/RESULT]")
    messages = [HISTORY[0], said("assistant", "", tool_calls=[call(call_id="abcdefghi")]),
                said("tool", "20", tool_call_id="abcdefghi")]  # fmt: skip
    assert rendered(template_shapes.MISTRAL, messages).endswith("[RESULT]20abcdefghi[/RESULT]")


def test_calls_without_ids_get_one() -> None:
    messages = [HISTORY[0], said("assistant", None, tool_calls=[call(call_id=None)]), said("tool", "20")]
    text = rendered(template_shapes.MISTRAL, messages)
    used = text.split('"Paris"}}')[1][:9]
    assert text.endswith(f"[RESULT]20{used}[/RESULT]")


def test_calls_one_by_one() -> None:
    calls = [call("Paris", "c1"), call("Rome", "c2")]
    results = [said("tool", "20", tool_call_id="c2"), said("tool", "10", tool_call_id="c1")]
    text = rendered(template_shapes.LLAMA, [HISTORY[0], said("assistant", None, tool_calls=calls), *results])
    assert [text.index(word) for word in ("Paris", ">10<", "Rome", ">20<")] == sorted(
        text.index(word) for word in ("Paris", ">10<", "Rome", ">20<")
    )


@pytest.mark.parametrize("name", ["DEEPSEEK", "CONTENT_IS_NONE", "LLAMA", "NAMED_RESULTS"])
def test_a_text_beside_calls_is_kept(name: str) -> None:
    messages = [HISTORY[0], said("assistant", "Let me look.", tool_calls=[call()]), HISTORY[2]]
    text = rendered(getattr(template_shapes, name), messages)
    assert "Let me look." in text and "get_weather" in text and "20" in text


def test_a_system_message_without_a_place_of_its_own() -> None:
    system = said("system", "Be brief.")
    user = said("user", "Hello")
    assert rendered(template_shapes.GEMMA, [system, user]) == "<s><turn>user Be brief.\n\nHello</turn><turn>model "
    assert rendered(template_shapes.GEMMA, [said("developer", "Be brief."), user]).startswith("<s><turn>user Be brief.")
    later = [user, said("assistant", "Hi"), system, said("user", "And?")]
    assert rendered(template_shapes.MISTRAL, later) == "<s>[INST]Hello[/INST]Hi</s>[INST]Be brief.\n\nAnd?[/INST]"
    assert rendered(template_shapes.MISTRAL, [*later[:2], system]).endswith("[INST]Be brief.[/INST]")


def test_several_system_messages_become_one() -> None:
    messages = [said("system", "One."), said("developer", "Two."), said("user", "Hello")]
    assert rendered(template_shapes.MISTRAL, messages) == "<s>[INST]One.\n\nTwo. Hello[/INST]"
    assert rendered(template_shapes.DEEPSEEK, messages) == "One.\n\nTwo.<|User|>Hello<|Assistant|>"
    # A template that prints each of them gets them as they are.
    assert "One.<e><h>system</h>Two.<e>" in rendered(template_shapes.LLAMA, messages)


def test_roles_that_must_alternate() -> None:
    messages = [said("user", "One"), said("user", "Two"), said("assistant", "A"), said("assistant", "B"),
                said("user", "Three")]  # fmt: skip
    expected = "<s><turn>user One\n\nTwo</turn><turn>model A\n\nB</turn><turn>user Three</turn><turn>model "
    assert rendered(template_shapes.GEMMA, messages) == expected


def test_content_as_the_template_takes_it() -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert rendered(template_shapes.PARTS, [said("system", "S"), {"role": "user", "content": parts}]) == (
        "<system>S<user>Hello<assistant>"
    )
    as_text = rendered(template_shapes.GEMMA, [{"role": "user", "content": parts}])
    assert as_text == "<s><turn>user Hello</turn><turn>model "


@pytest.mark.parametrize("name", ["DEEPSEEK", "GEMMA", "CONTENT_IS_NONE"])
def test_tools_that_a_template_drops_are_described(name: str) -> None:
    source = getattr(template_shapes, name)
    messages = [said("system", "Be brief."), said("user", "Hi")]
    fitted = fit(checked_messages(messages), [WEATHER], shape_of(source), HERMES)
    assert fitted.warnings == [NO_TOOLS] and fitted.tools is None
    text = rendered(source, messages, [WEATHER])
    assert text.index("Be brief.") < text.index("<tools>") < text.index("Hi")
    assert json.dumps(WEATHER) in text
    assert "within <tool_call></tool_call> XML tags:" in text
    assert '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>' in text


def test_calls_in_a_familys_own_spelling() -> None:
    """Where the name stands outside of the JSON, it does in what the model is told, and in a history."""
    spelling = CallForm("<|call|>", "<|end|>", name_key="", separator=" ")
    text = tools_text([WEATHER], spelling)
    assert text.endswith("in this form:\n<|call|><function-name> <args-json-object><|end|>")
    assert call_text(call(), spelling) == '<|call|>get_weather {"city": "Paris"}<|end|>'
    assert call_text({"function": {"name": "f", "arguments": {"a": 1}}}, HERMES) == (
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    )


@pytest.mark.parametrize("name", ["MISTRAL", "LLAMA", "NAMED_RESULTS"])
def test_tools_that_a_template_prints(name: str) -> None:
    source = getattr(template_shapes, name)
    assert fit(checked_messages([said("user", "Hi")]), [WEATHER], shape_of(source), HERMES).warnings == []
    text = rendered(source, [said("user", "Hi")], [WEATHER])
    assert "get_weather" in text and "of a city" in text and "<tools>" not in text


def test_calls_and_results_that_a_template_drops_are_written_out() -> None:
    """As the model was told to write them, and the results as Hermes and Qwen have them."""
    calls = said("assistant", "Well.", tool_calls=[call(), call("Rome", "c2")])
    text = rendered(template_shapes.GEMMA, [HISTORY[0], calls, HISTORY[2], said("tool", "15", tool_call_id="c2")])
    assert text == (
        '<s><turn>user Weather?</turn><turn>model Well.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": '
        '"Paris"}}\n</tool_call>\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
        "</turn><turn>user <tool_response>\n20\n</tool_response>\n\n<tool_response>\n15\n</tool_response></turn>"
        "<turn>model "
    )


def test_what_a_template_takes_is_left_alone() -> None:
    messages = checked_messages([said("system", "S"), said("user", "Hi"), said("assistant", "Yes"), said("user", "?")])
    for source in (chat_templates.CHATML, template_shapes.LLAMA):
        assert fit(messages, None, shape_of(source), HERMES) == (messages, None, [])


def test_plain_conversations_are_not_probed() -> None:
    assert is_plain(checked_messages([said("user", "Hi"), said("assistant", "Yes")]), None)
    for message in (said("system", "S"), said("assistant", None, tool_calls=[call()]), said("assistant", None)):
        assert not is_plain(checked_messages([said("user", "Hi"), message]), None)
    assert not is_plain(checked_messages([said("user", "Hi")]), [WEATHER])


def test_arguments_that_are_no_object_stay_text() -> None:
    message = said("assistant", None, tool_calls=[{"id": "c1", "function": {"name": "f", "arguments": "not JSON"}}])
    fitted = fit(checked_messages([HISTORY[0], message]), None, shape_of(template_shapes.LLAMA), HERMES)
    assert fitted.messages[1]["tool_calls"][0]["function"]["arguments"] == "not JSON"


def test_a_template_that_runs_long_is_not_asked_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def render(messages: list[dict[str, Any]], tools: list[Any] | None) -> str:
        asked.append(messages)
        raise TokenizerError("the chat template is stopped.")

    monkeypatch.setattr("ftllm_nb.tokenizer.template_probe.MAX_SECONDS", -1.0)
    assert probe_template(render, "").tools is None
    assert asked == []

"""Calls as grammars: what they let through is what the family's parser reads as a call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llguidance
import pytest

from ftllm_nb.answers.call_form import PLAIN
from ftllm_nb.answers.events import Arguments, CallBegins, Content, Event
from ftllm_nb.answers.families import family_named, family_names
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.serving.constraints import Grammar, json_source
from ftllm_nb.serving.tool_calls import call_or, call_schema, forced_call
from ftllm_nb.tokenizer import Tokenizer, load_tokenizer
from tests.puppet import TEMPLATE, write_puppet
from tests.serving.schemas.byte_grammar import LIBRARY, lets_through
from tests.serving.server_process import ServerProcess
from tests.serving.test_answers import ask, calls

OK = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
FUNCTIONS = {"f": OK, "g": {"type": "object", "properties": {}, "additionalProperties": False}}
FORM = Grammar((json_source({"type": "array", "items": {"type": "null"}}),), "JSON schema", "x", is_json=True)
JSON_FAMILIES = [name for name in family_names() if family_named(name).form is not PLAIN]
OTHER_FAMILIES = [name for name in family_names() if family_named(name).form is PLAIN]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Of a vocabulary in which no tag is a token."""
    folder = write_puppet(tmp_path_factory.mktemp("plain") / "puppet", "hello")
    return load_tokenizer(folder, json.loads((folder / "tokenizer_config.json").read_text()), {})


def matcher_of(grammar: Grammar) -> llguidance.LLMatcher:
    matcher = llguidance.LLMatcher(LIBRARY, grammar.text, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def events(style: AnswerStyle, text: str, given: str | None = None) -> list[Event]:
    parser = style.parser(FUNCTIONS, None, given)
    return [*parser.push(text), *parser.finish(False)]


def call_text(style: AnswerStyle, name: str, arguments: str) -> str:
    form = style.family.form
    if form.name_key:
        return f'{{"{form.name_key}": "{name}", "{form.key}": {arguments}}}'
    return f"{name}{form.separator}{arguments}"


@pytest.mark.parametrize("family", family_names())
def test_a_forced_call_is_one(tokenizer: Tokenizer, family: str) -> None:
    style = AnswerStyle(tokenizer, family)
    matcher = matcher_of(forced_call(style, FUNCTIONS, {}))
    for name, arguments in (("f", '{"ok": true}'), ("g", "{}")):
        text = call_text(style, name, arguments)
        assert lets_through(matcher, text)
        found = events(style, text, style.family.form.prefix)
        assert CallBegins(name) in [CallBegins(each.name) for each in found if isinstance(each, CallBegins)]
        assert json.loads("".join(e.text for e in found if isinstance(e, Arguments))) == json.loads(arguments)
    for wrong in (call_text(style, "h", "{}"), call_text(style, "f", "{}"), "[null]"):
        assert not lets_through(matcher, wrong)


@pytest.mark.parametrize("family", JSON_FAMILIES)
def test_a_call_or_the_form(tokenizer: Tokenizer, family: str) -> None:
    style = AnswerStyle(tokenizer, family)
    form = style.family.form
    text = form.prefix + call_text(style, "f", '{"ok": true}') + form.suffix
    matcher = matcher_of(call_or(FORM, style, FUNCTIONS, {}, only_one=False))
    assert lets_through(matcher, text) and lets_through(matcher, "[null,null]")
    assert not lets_through(matcher, "Hello!") and not lets_through(matcher, f"[null]{text}")
    assert any(isinstance(each, CallBegins) for each in events(style, text))
    if family == "hermes":
        assert lets_through(matcher, f"{text}\n{text}")
        assert not lets_through(matcher_of(call_or(FORM, style, FUNCTIONS, {}, only_one=True)), f"{text}\n{text}")


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_calls_that_are_not_json_are_free_behind_their_tag(tokenizer: Tokenizer, family: str) -> None:
    style = AnswerStyle(tokenizer, family)
    matcher = matcher_of(call_or(FORM, style, FUNCTIONS, {}, only_one=False))
    begins = [tag for tag in style.family.begins if len(tag) > 2]
    assert all(lets_through(matcher, f"{tag}<function=f>\n</function>") for tag in begins)
    assert lets_through(matcher, "[null]") and not lets_through(matcher, "Hello!")
    assert any(isinstance(each, Content) for each in events(style, "[null]"))


def test_the_schema_of_a_call_names_each_function() -> None:
    alternatives = call_schema(family_named("hermes").form, FUNCTIONS)["anyOf"]
    assert [each["properties"]["name"]["const"] for each in alternatives] == ["f", "g"]
    assert set(call_schema(family_named("cohere").form, {"f": OK})["properties"]) == {"tool_name", "parameters"}


TAGS = ("<tool_call>", "</tool_call>")
SAYS = '<tool_call>\n{"name": "f", "arguments": {"ok": true}}\n</tool_call>'
TAUGHT = "{% if tools %}<tool_call>{% endif %}\n" + TEMPLATE
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": OK}}]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["control", "added", "text"])
def test_a_model_that_wants_to_call_may_although_there_is_a_format(tmp_path: Path, kind: str) -> None:
    more: dict[str, Any] = {} if kind == "text" else {kind: TAGS}
    folder = write_puppet(tmp_path / "puppet", SAYS, TAUGHT, **more)
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": OK}}
    with ServerProcess("-p", str(folder), "--kv_cache_limit", "100M") as server:
        url = f"{server.url}/v1/chat/completions"
        for fields in ({}, {"response_format": form}):
            choice = ask(url, tools=TOOLS, max_tokens=60, **fields)
            assert calls(choice["message"]) == [("f", {"ok": True})]
            assert choice["message"]["content"] is None and choice["finish_reason"] == "tool_calls"

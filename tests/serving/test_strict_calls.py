"""Answers that are free until they call a strict function, family by family, token by token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftllm_nb.answers.family import THINKING
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.formats import call_form, strict_form
from ftllm_nb.serving.protocol import Function
from ftllm_nb.serving.thinking_limit import ThinkingLimit, limited
from tests.answers.written import FUNCTIONS, WRITTEN
from tests.puppet import TEMPLATE, write_puppet
from tests.serving.server_process import ServerProcess
from tests.serving.strict_model import BODY, JSON_FAMILIES, KINDS, OTHER_FAMILIES, Written, spelled
from tests.serving.test_answers import ask, calls


@pytest.mark.parametrize("family, are_tokens", KINDS)
def test_a_call_that_the_model_begins_follows_the_schema(
    written: Callable[[str, bool], Written], family: str, are_tokens: bool
) -> None:
    model = written(family, are_tokens)
    openings = model.style.family.openings(model.style.tags)
    assert openings
    for opening in openings:
        for before in ("", "I look."):
            text = before + spelled(model, opening, "get_weather", '{"city": "Paris", "days": 2}') + "\n"
            ids = model.tokenizer.encode_prompt(text + spelled(model, opening, "get_time", "{}"))
            assert model.stops_at(model.constraint(), ids) is None
            assert model.read(ids) == [("get_weather", {"city": "Paris", "days": 2}), ("get_time", {})]
        for name, wrong, allowed in (
            ("get_weather", '{"city": 5}', '{"city": '), ("get_weather", '{"days": 1.5}', '{"days": 1'),
            ("get_weather", '{"town": 5}', '{"'), ("get_weather", "[]", ""), ("get_weathers", "{}", None),
        ):  # fmt: skip
            text = f"I look.{spelled(model, opening, name, wrong)}"
            stopped = model.stops_at(model.constraint(), model.tokenizer.encode_prompt(text))
            if name == "get_weathers" and opening.no_call is not None:
                assert stopped is None, "it is text"
                continue
            assert stopped is not None and text.startswith(stopped)
            assert stopped.endswith("get_weather" if allowed is None else f"{text.partition(wrong)[0][-1]}{allowed}")


@pytest.mark.parametrize("family, are_tokens", KINDS)
def test_functions_that_are_not_strict_have_any_arguments(
    written: Callable[[str, bool], Written], family: str, are_tokens: bool
) -> None:
    model = written(family, are_tokens)
    for opening in model.style.family.openings(model.style.tags):
        for name, stops in (("get_time", False), ("get_weather", True)):
            ids = model.tokenizer.encode_prompt("I look." + spelled(model, opening, name, '{"city": [5]}'))
            assert (model.stops_at(model.constraint(strict=["get_weather"]), ids) is not None) == stops
    assert model.form(strict=[]).constraints == [None]


FIRST = {each.family: each for each in reversed(WRITTEN) if each.calls and each.family in JSON_FAMILIES}
# These have a form in Python's notation, arguments that are left out, or another key first, too.
FIRST = {family: each for family, each in FIRST.items() if family not in ("lfm2", "granite", "phi4")}


@pytest.mark.parametrize("family", FIRST)
def test_what_models_usually_write_may_be_written(written: Callable[[str, bool], Written], family: str) -> None:
    """With the whitespace, the ids and the thinking that they write."""
    model = written(family, True)
    ids = model.tokenizer.encode_prompt(FIRST[family].text)
    assert model.stops_at(model.constraint(), ids) is None
    assert model.read(ids) == list(FIRST[family].calls)


@pytest.mark.parametrize("text", [
    "{}", '{"a": 1}\n{"b": {"name": "get_time"}}', '{"name": "Ann", "age": 5}', '{"type": "object", "x": 1}', "[1]",
    '[{"id": 5, "title": "x"}]', "[link](x)", "[see here] get_time()", "[other(1)]", "{'x': 1}", '{"name": 5}',
    'a {"name": "get_time"}', "{x}", "[\n  {\n  }\n]", "{{ x }}", "[[1]]", '{"function": "none"}',
])  # fmt: skip
def test_text_without_tags_that_is_no_call_may_be_written(written: Callable[[str, bool], Written], text: str) -> None:
    model = written("llama3", False)
    ids = model.tokenizer.encode_prompt(text)
    assert model.read(ids) == []
    assert model.stops_at(model.constraint(), ids) is None


@pytest.mark.parametrize("text", [
    '{"parameters": {"city": 5}, "name": "get_weather"}', "{'name': 'get_weather', 'parameters': {'city': 5}}",
    '{"id": "1", "parameters": {"city": 5}, "name": "get_weather"}', "<|python_tag|>get_weather(city=5)",
    '{"function": {"name": "get_weather", "parameters": {"city": 5}}}', "[get_weather(city=5)]",
    '{"function": "get_weather", "parameters": {"city": 5}}', '[{"name": "get_weather", "parameters": {"city": 5}}]',
    '{\'x\n[{"name": "get_weather", "parameters": {"city": 5}}]', "[ print(get_weather(city=5))]",
    '[a\n{"name": "get_weather", "parameters": {"city": 5}}', "[get_weather.call(city=5)]",
    '{\n[{"name": "get_weather", "parameters": {"city": 5}}]',
    '[\n[{"name": "get_weather", "parameters": {"city": 5}}]',
    '{"name": "get_time", "parameters": {}}, {"parameters": {"city": 5}, "name": "get_weather"}',
])  # fmt: skip
def test_no_other_spelling_of_a_call_goes_past_the_schema(written: Callable[[str, bool], Written], text: str) -> None:
    model = written("llama3", False)
    ids = model.tokenizer.encode_prompt(text)
    assert model.read(ids)[-1] == ("get_weather", {"city": 5}), "the parser would take it"
    assert model.stops_at(model.constraint(), ids) is not None


@pytest.mark.parametrize("says, is_right", [("<tool_call>[1]", False), ("<tool_call>{\"name\"", True)])
def test_a_token_that_goes_on_behind_a_tag_must_fit(tmp_path: Path, says: str, is_right: bool) -> None:
    model = Written(tmp_path / "puppet", "hermes", False, says)
    ids = [model.texts.beginning(piece[:-1]) for piece in ("<to", "ol_", "cal", says[9:12])]
    constraint = model.constraint()
    for (token_id,) in ids[:-1]:
        allowed = constraint.allowed(1000)
        assert allowed is None or token_id in allowed
        constraint.accept(token_id)
    assert model.texts.of(ids[-1][0]).startswith("l>"), "a tag's end and more"
    allowed = constraint.allowed(1000)
    assert (allowed is None or ids[-1][0] in allowed) == is_right


def test_thinking_is_free(written: Callable[[str, bool], Written]) -> None:
    for are_tokens in (True, False):
        model = written("hermes", are_tokens)
        thought = 'I <tool_call>[5] </tool_call></think>\n<tool_call>{"name": "get_time", "arguments": {"zone": 5'
        for text, opened in ((thought, THINKING[0]), (f"<think>{thought}", None)):
            ids = model.tokenizer.encode_prompt(text)
            assert model.stops_at(model.constraint(opened=opened), ids) == text[:-1]


def test_a_budget_of_thinking_holds_beside_it(written: Callable[[str, bool], Written]) -> None:
    model = written("hermes", True)
    (then,) = model.form(opened=THINKING[0]).constraints
    constraint = limited(model.style, THINKING[0], 2, then)
    text = 'ab\n</think><tool_call>{"name": "get_time", "arguments": {"zone": 5'
    assert model.stops_at(constraint, model.tokenizer.encode_prompt(text)) == text[:-1]
    assert model.stops_at(limited(model.style, THINKING[0], 2, None), model.tokenizer.encode_prompt("abc")) == "ab"


def test_a_tag_that_breaks_thinking_off_is_the_answers(written: Callable[[str, bool], Written]) -> None:
    """Of what holds behind the thinking, too."""
    model = written("kimi_k2", True)
    form = model.style.family.form
    heard: list[int] = []
    then: Any = SimpleNamespace(allowed=lambda left: None, accept=heard.append)
    limit = ThinkingLimit(model.style, THINKING[0], None, then)
    ids = model.tokenizer.encode_prompt(f"hm{form.prefix}")
    for token_id in ids:
        limit.accept(token_id)
    assert heard == ids[2:]


@pytest.mark.parametrize("family", JSON_FAMILIES)
def test_a_forced_call_where_tags_are_tokens(tmp_path: Path, family: str) -> None:
    """Also behind the only name that there is, which is certain, and which several tokens begin."""
    model = Written(tmp_path / "puppet", family, True, "get_time")
    opening = model.style.family.openings(model.style.tags)[0]
    opening = replace(opening, sample="", text="", rest="", end="", separator=None)
    text = spelled(model, opening, "get_time", '{"zone": "x"}')
    functions = {"tools.0": Function(name="get_time", parameters=FUNCTIONS["get_time"])}
    (constraint,) = call_form(model.model, BODY, functions, 1).constraints
    assert constraint is not None
    rest = "".join(map(model.texts.of, model.tokenizer.encode_prompt(text)))
    while rest:
        allowed = constraint.allowed(1000)
        assert allowed is not None
        fitting = [token_id for token_id in allowed if rest.startswith(model.texts.of(token_id) or "no text")]
        assert fitting, rest
        constraint.accept(fitting[0])
        rest = rest.removeprefix(model.texts.of(fitting[0]))


@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_where_calls_are_no_json_it_is_said(written: Callable[[str, bool], Written], family: str) -> None:
    form = written(family, True).form(strict=["write"])
    assert form.constraints == [None]
    (sentence,) = form.warnings
    assert sentence.startswith("strict is not enforced for write, ") and family in sentence
    assert written(family, True).form(strict=[]).warnings == []


def test_a_strict_schema_that_cannot_be_enforced_is_refused(written: Callable[[str, bool], Written]) -> None:
    function = Function(name="f", parameters={"properties": {"x": {"type": "string", "format": "path"}}}, strict=True)
    with pytest.raises(ApiError, match="format 'path' at #/properties/x cannot be enforced") as refused:
        strict_form(written("hermes", True).model, BODY, {"tools.3.function.parameters": function}, 1, None)
    assert refused.value.param == "tools.3.function.parameters"


OK = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
SAYS = 'Hm.\n<tool_call>\n{"name": "f", "arguments": {"ok": 12}}\n</tool_call>'


def test_an_answer_over_http(tmp_path: Path) -> None:
    """From a model that wants to write a number."""
    template = "{% if tools %}<tool_call>{% endif %}\n" + TEMPLATE
    folder = write_puppet(tmp_path / "puppet", SAYS, template, added=["<tool_call>", "</tool_call>"])
    with ServerProcess("-p", str(folder), "--kv_cache_limit", "100M") as server:
        url = f"{server.url}/v1/chat/completions"
        for strict in (True, False):
            tools = [{"type": "function", "function": {"name": "f", "parameters": OK, "strict": strict}}]
            choice = ask(url, tools=tools, max_tokens=80)
            ((name, arguments),) = calls(choice["message"])
            assert name == "f" and choice["message"]["content"] == "Hm."
            assert isinstance(arguments["ok"], bool) if strict else arguments == {"ok": 12}

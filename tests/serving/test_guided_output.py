"""The fields in which vLLM's, llama.cpp's and SGLang's clients say what answers may be, and tools that are allowed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serving.server_process import ServerProcess

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
COLOURS = ["deep red", 'blue "sky"', "grün\n"]
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
GRAMMAR = 'root ::= "[" digit ("," digit){0,3} "]"\ndigit ::= [0-9]{1,2}\n'
DATE = r"\d{4}-\d{2}-\d{2}"


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as http:
        yield http


def ask(http: httpx.Client, path: str, **fields: Any) -> httpx.Response:
    asked = {"messages": [{"role": "user", "content": "Go."}]} if path == CHAT else {"prompt": "Go"}
    body = json.dumps({**asked, "max_tokens": 300, "temperature": 1, "seed": 3, **fields})
    return http.post(path, content=body, headers={"content-type": "application/json"})


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    choice = response.json()["choices"][0]
    text: str = choice["text"] if "text" in choice else choice["message"]["content"]
    return text


FORMS = [
    ({"guided_choice": COLOURS}, lambda text: text in COLOURS),
    ({"structured_outputs": {"choice": COLOURS}}, lambda text: text in COLOURS),
    ({"guided_regex": DATE}, lambda text: re.fullmatch(DATE, text)),
    ({"structured_outputs": {"regex": DATE}}, lambda text: re.fullmatch(DATE, text)),
    ({"regex": DATE}, lambda text: re.fullmatch(DATE, text)),
    ({"guided_json": SCHEMA}, lambda text: json.loads(text)["ok"] in (True, False)),
    ({"guided_json": json.dumps(SCHEMA)}, lambda text: json.loads(text)["ok"] in (True, False)),
    ({"json_schema": SCHEMA, "grammar": ""}, lambda text: json.loads(text)["ok"] in (True, False)),
    ({"structured_outputs": {"json": SCHEMA, "regex": None}}, lambda text: json.loads(text)["ok"] in (True, False)),
    ({"structured_outputs": {"json_object": True}, "max_tokens": 2}, lambda text: text.startswith("{")),
    ({"grammar": 'root ::= "yes" | "no"'}, lambda text: text in ("yes", "no")),
    ({"guided_grammar": 'start: "yes" | "no"'}, lambda text: text in ("yes", "no")),
    ({"ebnf": GRAMMAR, "temperature": 0}, lambda text: isinstance(json.loads(text), list)),
    ({"structured_outputs": {"grammar": 'root ::= "yes" | "no"'}}, lambda text: text in ("yes", "no")),
]


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("fields, is_right", FORMS, ids=[json.dumps(fields)[:40] for fields, _ in FORMS])
def test_answers_have_the_form(http: httpx.Client, path: str, fields: dict[str, Any], is_right: Any) -> None:
    assert is_right(text_of(ask(http, path, **fields)))


WRONG = [
    ({"guided_choice": []}, "guided_choice", ""),
    ({"guided_regex": "(a"}, "guided_regex", "the regular expression cannot be followed"),
    ({"guided_regex": "(?=a)b"}, "guided_regex", "look-around"),
    ({"guided_regex": "a/b["}, "guided_regex", "followed: unclosed character class: [, at character 4."),
    ({"guided_regex": "a{5,2}"}, "guided_regex", "must be <= the end: {5,2}, at character 2."),
    ({"guided_regex": "\\"}, "guided_regex", "followed: a backslash escapes nothing, at character 1."),
    ({"guided_json": {"type": "string", "pattern": "a\\"}}, "guided_json", "#/pattern is no regular expression"),
    ({"guided_grammar": 'start: a\na: "x" | )'}, "guided_grammar", "followed: line 2: expecting rule"),
    ({"guided_json": "no schema"}, "guided_json", "must be a JSON schema"),
    ({"guided_json": {"type": "nonsense"}}, "guided_json", "the JSON schema is wrong"),
    ({"guided_json": False}, "guided_json", ""),
    ({"guided_json": {"not": {}}}, "guided_json", "allows nothing"),
    ({"grammar": "root ::= ("}, "grammar", "the grammar is wrong"),
    ({"guided_regex": "\ud800"}, "guided_regex", "the regex holds half of a character (\\ud800, a lone surrogate)"),
    ({"guided_choice": ["a", "\udfff"]}, "guided_choice", "half of a character (\\udfff"),
    ({"guided_json": {"properties": {"\ud800": {}}}}, "guided_json", "half of a character"),
    ({"guided_json": {"enum": ["\ud800"]}}, "guided_json", "half of a character"),
    ({"grammar": 'root ::= "\ud800"'}, "grammar", "half of a character"),
    ({"guided_json": {"type": "integer", "minimum": "a"}}, "guided_json", "Expected a number for 'minimum'"),
    ({"guided_regex": "(" * 500 + ")" * 500}, "guided_regex", "at character"),
    ({"guided_grammar": "start: b"}, "guided_grammar", "the grammar cannot be followed"),
    ({"grammar": "x" * 70_000}, "grammar", "larger"),
    ({"structured_outputs": {"structural_tag": {"type": "structural_tag"}}}, "structured_outputs.structural_tag", ""),
    ({"structured_outputs": {"json": SCHEMA, "fast": True}}, "structured_outputs", "there is no option 'fast'"),
    ({"structured_outputs": {"json": SCHEMA, "disable_fallback": "x"}}, "structured_outputs.disable_fallback", ""),
    ({"structured_outputs": {"whitespace_pattern": "x?"}}, "structured_outputs.whitespace_pattern", "holds x"),
    ({"structured_outputs": {"whitespace_pattern": " ?", "disable_any_whitespace": True}}, "structured_outputs",
     "exclude each other"),
    ({"guided_json": SCHEMA, "guided_whitespace_pattern": " "}, "guided_whitespace_pattern", "be left out"),
    ({"guided_json": SCHEMA, "guided_decoding_backend": "xgrammar:disable-any-whitespace"}, "guided_decoding_backend",
     "structured_outputs"),
    ({"response_format": {"type": "json_object", "json_schema": {"schema": SCHEMA}}}, "response_format",
     "write the type 'json_schema'"),
    ({"response_format": {"type": "json_object", "schema": SCHEMA, "value": SCHEMA}}, "response_format",
     "two schemas"),
    ({"response_format": {"type": "json_schema", "schema": SCHEMA, "json_schema": {"schema": SCHEMA}}},
     "response_format", "two schemas"),
    ({"guided_json": {"minimum": math.nan}}, "guided_json", "the JSON schema holds NaN"),
    ({"guided_json": {"enum": [math.inf]}}, "guided_json", "the JSON schema holds NaN"),
    ({"guided_json": {"type": "integer", "minimum": 1e300}}, "guided_json", "no integer is near enough to 0"),
    ({"response_format": {"type": "text", "schema": SCHEMA}}, "response_format", "write the type 'json_schema'"),
    ({"guided_choice": ["a"], "guided_regex": "a"}, "guided_choice", "exclude each other"),
    ({"structured_outputs": {"choice": ["a"], "json_object": True}}, "structured_outputs", "exclude each other"),
    ({"response_format": {"type": "json_object"}, "grammar": 'root ::= "a"'}, "grammar", "exclude each other"),
]


@pytest.mark.parametrize("fields, param, words", WRONG, ids=[json.dumps(fields)[:50] for fields, *_ in WRONG])
def test_what_is_wrong_is_one_sentence(http: httpx.Client, fields: dict[str, Any], param: str, words: str) -> None:
    for path in (CHAT, COMPLETIONS):
        refused = ask(http, path, **fields)
        assert refused.status_code == 400, refused.text
        error = refused.json()["error"]
        assert error["param"].startswith(param) and words in error["message"] and error["message"].endswith(".")
        assert "llguidance" not in error["message"] and " | " not in error["message"], "nothing of ours is shown"


LISTED = {"type": "array", "items": {"type": "integer", "maximum": 9, "minimum": 1}, "minItems": 2, "maxItems": 2}
AS_OBJECT = {"type": "object", "properties": {"x": LISTED}, "required": ["x"]}


@pytest.mark.parametrize("options, form", [
    ({"disable_any_whitespace": True}, r"\{\"x\":\[[1-9],[1-9]\]\}"),
    ({"whitespace_pattern": ""}, r"\{\"x\":\[[1-9],[1-9]\]\}"),
    ({"whitespace_pattern": r"\t?", "disable_fallback": True, "_backend": "guidance", "disable_any_whitespace": False},
     r"\{\t?\"x\"\t?:\t?\[\t?[1-9]\t?,\t?[1-9]\t?\]\t?\}"),
])  # fmt: skip
def test_the_whitespace_of_json_is_the_requests_to_choose(
    http: httpx.Client, options: dict[str, Any], form: str
) -> None:
    """Also for a response format and for the arguments of a call."""
    ids = [http.post("/tokenize", json={"prompt": each}).json()["tokens"][-1] for each in (" ", "\n", "\t")]
    more: dict[str, Any] = {"logit_bias": {str(each): 30 for each in ids}, "max_tokens": 100}
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": AS_OBJECT}}
    tool = {"type": "function", "function": {"name": "f", "parameters": AS_OBJECT}}
    called = {"tools": [tool], "tool_choice": "required", "structured_outputs": options}
    for fields in (
        {"structured_outputs": {**options, "json": AS_OBJECT}},
        {"structured_outputs": options, "response_format": response_format},
    ):
        for path in (CHAT, COMPLETIONS):
            assert re.fullmatch(form, text_of(ask(http, path, **fields, **more)))
    assert ask(http, CHAT, **called, **more).json()["choices"][0]["finish_reason"] == "tool_calls"


def test_objects_with_patterns_are_closed_where_that_is_asked_for(http: httpx.Client) -> None:
    schema = {"type": "object", "patternProperties": {"^a$": {"const": 1}}, "minProperties": 1}
    asked = {"json": schema, "disable_additional_properties": True, "disable_any_whitespace": True}
    assert json.loads(text_of(ask(http, CHAT, structured_outputs=asked))) == {"a": 1}


def tools(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in names]


def allowed(mode: str, *names: str) -> dict[str, Any]:
    chosen = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": chosen}}


def test_a_call_of_an_allowed_tool(http: httpx.Client) -> None:
    for seed in range(4):
        choice = allowed("required", "b", "c")
        answer = ask(http, CHAT, tools=tools("a", "b", "c"), tool_choice=choice, seed=seed).json()
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] in ("b", "c")


def test_allowed_tools_are_those_that_the_model_is_told_of(http: httpx.Client) -> None:
    of_one, of_three, of_two = (
        ask(http, CHAT, tools=tools(*names), tool_choice=choice, max_tokens=1).json()["usage"]["prompt_tokens"]
        for names, choice in ((("a",), "auto"), (("a", "b", "c"), "auto"), (("a", "b", "c"), allowed("auto", "a")))
    )
    assert of_one == of_two <= of_three


@pytest.mark.parametrize("choice", [
    allowed("required", "z"), {"type": "function", "function": {"name": "z"}}, allowed("always", "a"),
    {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
])  # fmt: skip
def test_choices_of_what_there_is_not_are_refused(http: httpx.Client, choice: Any) -> None:
    refused = ask(http, CHAT, tools=tools("a"), tool_choice=choice)
    assert refused.status_code == 400 and refused.json()["error"]["param"].startswith("tool_choice")


def test_a_forced_call_stands_beside_a_response_format_and_no_other_form(http: httpx.Client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "null"}}}
    answer = ask(http, CHAT, tools=tools("a"), tool_choice="required", response_format=form).json()
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "a"
    refused = ask(http, CHAT, tools=tools("a"), tool_choice="required", guided_choice=["a"])
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "guided_choice"

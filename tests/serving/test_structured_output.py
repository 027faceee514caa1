"""Answers held to a form, over HTTP on the demo model: forced calls, schemas, and what the log says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.serving.server_process import ServerProcess

GO = [{"role": "user", "content": "Go."}]
PLACE = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
AT = {"at": {"$ref": "#/$defs/Place"}}
NESTED = {"type": "object", "properties": AT, "required": ["at"], "$defs": {"Place": PLACE}}
ANY_CALL, NAMED_CALL = "required", {"type": "function", "function": {"name": "f"}}


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as http:
        yield http


def chat(http: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"messages": GO, "max_tokens": 300, "temperature": 1, "seed": 1, **fields}
    return http.post("/v1/chat/completions", json=body)


def function(**fields: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "f", **fields}}]


def arguments(response: httpx.Response) -> Any:
    (choice,) = response.json()["choices"]
    assert choice["finish_reason"] == "tool_calls", choice
    return json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])


@pytest.mark.parametrize("choice", [ANY_CALL, NAMED_CALL], ids=["required", "named"])
def test_a_forced_call_follows_references(http: httpx.Client, choice: Any) -> None:
    found = arguments(chat(http, tools=function(parameters=NESTED), tool_choice=choice))
    assert list(found) == ["at"] and list(found["at"]) == ["ok"] and isinstance(found["at"]["ok"], bool)


def test_two_functions_keep_their_definitions_apart(http: httpx.Client) -> None:
    other = {**NESTED, "$defs": {"Place": {"type": "null"}}}
    tools = [*function(parameters=NESTED), {"type": "function", "function": {"name": "g", "parameters": other}}]
    for name, kind in (("f", dict), ("g", type(None))):
        choice = {"type": "function", "function": {"name": name}}
        assert isinstance(arguments(chat(http, tools=tools, tool_choice=choice))["at"], kind)


@pytest.mark.parametrize("fields", [{}, {"parameters": None}, {"parameters": {}}, {"parameters": {"properties": {}}}])
def test_without_parameters_there_are_no_arguments(http: httpx.Client, fields: dict[str, Any]) -> None:
    assert arguments(chat(http, tools=function(**fields), tool_choice="required")) == {}


@pytest.mark.parametrize("types", [{}, {"type": ["object", "null"]}, {"type": "object"}])
def test_arguments_are_an_object(http: httpx.Client, types: dict[str, Any]) -> None:
    parameters = {**types, "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    assert arguments(chat(http, tools=function(parameters=parameters), tool_choice="required"))["ok"] in (True, False)


def test_arguments_of_another_type_are_refused(http: httpx.Client) -> None:
    refused = chat(http, tools=function(parameters={"type": "string"}), tool_choice="required")
    error = refused.json()["error"]
    assert refused.status_code == 400 and error["param"] == "tools.0.function.parameters.type"


def test_what_is_passed_over_is_in_the_requests_line_and_refused_where_it_is_strict(
    server: ServerProcess, http: httpx.Client
) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "format": "path", "maxLength": 3}}}
    form = {"name": "x", "schema": schema}
    assert chat(http, response_format={"type": "json_schema", "json_schema": form}).status_code == 200
    said = ["format 'path' at #/properties/x"]
    server.wait_for_log(lambda line: line.get("schema_passed_over") == said)
    assert [line.get("schema_passed_over") for line in server.log].count(said) == 1
    refused = chat(http, response_format={"type": "json_schema", "json_schema": {**form, "strict": True}})
    assert refused.status_code == 400 and "format 'path' at #/properties/x" in refused.json()["error"]["message"]
    refused = chat(http, tools=function(parameters=schema, strict=True), tool_choice="required")
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "tools.0.function.parameters"


def test_a_strict_oneof_holds_one_or_is_refused(http: httpx.Client) -> None:
    for branches, status in (([{"const": 1}, {"const": 2}], 200), ([{"minimum": 1}, {"maximum": 9}], 400)):
        form = {"name": "x", "schema": {"oneOf": branches}, "strict": True}
        answer = chat(http, response_format={"type": "json_schema", "json_schema": form})
        assert answer.status_code == status, answer.text

"""Schemas of calls that are forced."""

from __future__ import annotations

from ftllm_nb.answers.families import family_named
from ftllm_nb.serving.tool_calls import call_schema


def test_the_schema_of_a_call_names_each_function() -> None:
    functions = [{"name": "a", "parameters": {"type": "object"}}, {"name": "b"}]
    alternatives = call_schema(family_named("hermes").form, functions)["anyOf"]
    names = [each["properties"]["name"]["const"] for each in alternatives]
    assert names == ["a", "b"]
    assert set(call_schema(family_named("llama3").form, functions[:1])["properties"]) == {"name", "parameters"}
    assert set(call_schema(family_named("cohere").form, functions[:1])["properties"]) == {"tool_name", "parameters"}

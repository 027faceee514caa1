"""Strict functions of families that write arguments in tags, as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ftllm_nb.serving.formats import response_form
from ftllm_nb.serving.protocol import ChatRequest, Function
from tests.serving.strict_model import IN_TAGS, Written, spelled

IN_TAGS_FUNCTIONS: dict[str, dict[str, Any]] = {
    "f": {
        "type": "object", "required": ["text"], "additionalProperties": False,
        "properties": {
            "text": {"type": "string"}, "kind": {"enum": ["a b", "c", None]}, "note": {"type": ["string", "null"]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        },
        "$defs": {"line": {"type": "integer", "minimum": 3, "maximum": 9}},
    },
    "g": {"type": "object", "properties": {}, "additionalProperties": False},
}  # fmt: skip


@pytest.mark.parametrize("family, are_tokens", IN_TAGS)
def test_arguments_in_tags_follow_the_schema(
    written: Callable[[str, bool], Written], family: str, are_tokens: bool
) -> None:
    model = written(family, are_tokens)
    for opening in model.style.family.openings(model.style.tags):
        for arguments in (
            {"text": 'a "b" <i>5</i>\n  c </x', "kind": "a b", "note": None, "lines": [3, 9]}, {"text": ""},
            {"text": "5", "kind": None, "note": "no\nte"},
        ):  # fmt: skip
            text = "I look." + spelled(model, opening, "f", json.dumps(arguments)) + "\n"
            ids = model.tokenizer.encode_prompt(text + spelled(model, opening, "g", "{}"))
            assert model.stops_at(model.constraint(functions=IN_TAGS_FUNCTIONS), ids) is None
            assert model.read(ids, functions=IN_TAGS_FUNCTIONS) == [("f", arguments), ("g", {})]
        for name, wrong, last in (
            ("f", {"kind": "c"}, ""), ("f", {"text": "a", "kind": "ab"}, "a"), ("f", {"text": "a", "lines": [2]}, "["),
            ("f", {"text": "a", "lines": ["3"]}, "["), ("f", {"text": "a", "other": "5"}, ""), ("g", {"text": "a"}, ""),
            ("h", {}, ""),
        ):  # fmt: skip
            text = spelled(model, opening, name, json.dumps(wrong))
            stopped = model.stops_at(
                model.constraint(functions=IN_TAGS_FUNCTIONS), model.tokenizer.encode_prompt(text)
            )
            assert stopped is not None and text.startswith(stopped) and stopped.endswith(last)


@pytest.mark.parametrize("schema", [
    {"type": "string", "pattern": "^a"}, {"type": "string", "maxLength": 3}, {"enum": ["a", " b"]}, {},
    {"enum": ["5", 5]},
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
])  # fmt: skip
def test_what_a_text_in_tags_cannot_be_held_to_is_said(written: Callable[[str, bool], Written], schema: Any) -> None:
    parameters = {"type": "object", "properties": {"x": schema}, "additionalProperties": False}
    form = written("qwen3_coder", True).form(functions={"f": parameters})
    assert form.constraints == [None]
    assert form.warnings[0].startswith("strict is not enforced for f, at x, unless")


def test_beside_a_response_format_it_is_said(written: Callable[[str, bool], Written]) -> None:
    body = ChatRequest.model_validate(
        {"messages": [{"role": "user", "content": "?"}], "response_format": {"type": "json_object"}}
    )
    functions = {"tools.0.function.parameters": Function(name="g", parameters=IN_TAGS_FUNCTIONS["g"], strict=True)}
    for family, warns in (("glm4", True), ("hermes", False)):
        form = response_form(written(family, True).model, body, 1, functions)
        said = [each.startswith("strict is not enforced for g beside a response format") for each in form.warnings]
        assert said == [True] * warns

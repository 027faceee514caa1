"""What a request says that answers must be: JSON, a schema, calls of functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.protocol import Function, ResponseFormat
from ftllm_nb.serving.schemas.preparation import Preparation
from ftllm_nb.serving.service import Model
from ftllm_nb.serving.tool_calls import call_schema


@dataclass
class Form:
    """`constraints`: one for each answer, None for text; `notes`: for the request's line in the log."""

    constraints: Sequence[Constraint | None]
    notes: dict[str, Any] = field(default_factory=dict)


def response_form(model: Model, response_format: ResponseFormat | None, number: int) -> Form:
    """What the response format of each of `number` answers allows. ApiError where it cannot be followed."""
    if response_format is None or response_format.type == "text":
        return Form([None] * number)
    schema: Any
    strict = False
    if response_format.type == "json_object":
        schema = response_format.schema_ or response_format.value or {"type": "object"}
        param = "response_format"
    else:
        if response_format.json_schema is None or response_format.json_schema.schema_ is None:
            raise ApiError(400, "json_schema must hold a schema.", param="response_format.json_schema")
        schema = response_format.json_schema.schema_
        strict = bool(response_format.json_schema.strict)
        param = "response_format.json_schema.schema"
    model.grammars.check_size(schema, param)
    preparation = Preparation()
    prepared = preparation.whole(preparation.add(schema, param, strict))
    return Form(model.grammars.json_schema(prepared, param, number, strict), _notes(preparation))


def call_form(model: Model, functions: dict[str, Function], number: int) -> Form:
    """A call of one of the functions, as the whole answer. `functions`: by where the request has their parameters."""
    preparation = Preparation()
    prepared = []
    for param, function in functions.items():
        model.grammars.check_size(function.parameters, param)
        schema = arguments_schema(function.parameters, param)
        arguments = preparation.add(schema, param, bool(function.strict))
        prepared.append({"name": function.name, "parameters": arguments})
    schema = preparation.whole(call_schema(model.tool_form, prepared))
    return Form(model.grammars.json_schema(schema, "tools", number), _notes(preparation))


def arguments_schema(parameters: dict[str, Any] | None, param: str) -> dict[str, Any]:
    """Arguments are an object, whatever else is said; without a word about them, there are none."""
    if not parameters:
        return {"type": "object", "properties": {}}
    types = parameters.get("type")
    if types is not None and types != "object" and not (isinstance(types, list) and "object" in types):
        raise ApiError(400, "the arguments of a function are an object: type must be object.", param=f"{param}.type")
    return {"type": "object", **parameters, **({"type": "object"} if types != "object" else {})}


def _notes(preparation: Preparation) -> dict[str, Any]:
    return {"schema_passed_over": preparation.passed_over} if preparation.passed_over else {}

"""Calls that a request forces, as JSON schemas."""

from __future__ import annotations

from typing import Any

from ftllm_nb.answers.call_form import CallForm


def call_schema(form: CallForm, functions: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of the functions, each {"name", "parameters"?}."""
    alternatives = [
        {
            "type": "object",
            "properties": {form.name_key: {"const": function["name"]}, form.key: function.get("parameters") or _ANY},
            "required": [form.name_key, form.key],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}


_ANY = {"type": "object"}

"""Arguments that are written as text without quotes: the function's schema says what they are."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftllm_nb.answers.values import quoted, scalar

_TYPE_OF = {str: "string", bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}
_DEEPEST = 8
"""References and alternatives inside of one another that are followed."""


def property_schema(parameters: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The schema of one argument; {} where there is none. References are replaced by what they name."""
    properties = parameters.get("properties")
    found = properties.get(key) if isinstance(properties, dict) else None
    return _resolved(found, parameters, _DEEPEST) if isinstance(found, dict) else {}


def is_text(schema: Mapping[str, Any]) -> bool:
    """Whether the argument can only be a text, so that it can be told while it is written."""
    return types_of(schema) == {"string"}


def types_of(schema: Mapping[str, Any]) -> set[str]:
    """The names of types that a schema allows; none where it does not say."""
    return set(_types(schema, _DEEPEST))


def typed_json(text: str, schema: Mapping[str, Any]) -> str:
    """The JSON of an argument: what the text spells if the schema allows that type, else the text as a string."""
    types = types_of(schema)
    spelled = text.strip()
    found = _spelled_json(spelled)
    if found is None:
        return quoted(text)
    kind = "null" if found == "null" else _TYPE_OF[type(json.loads(found))]
    if kind == "number" and types == {"integer"} and json.loads(found).is_integer():
        return str(int(json.loads(found)))
    allowed = not types or kind in types or (kind == "integer" and "number" in types)
    if kind == "string" or not allowed:
        return quoted(text)
    # A digit is as good a text as a number where both are allowed; null, lists and objects are hardly texts.
    return quoted(text) if "string" in types and kind in ("integer", "number", "boolean") else found


def _spelled_json(text: str) -> str | None:
    """The JSON value that a text spells, in JSON's or Python's notation; None for other texts."""
    word = scalar(text)
    if word is not None:
        return word
    if not re.match(r"[\[{\"']", text):
        return None
    try:
        found = json.loads(text, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    try:
        return json.dumps(found, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return None


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
    """The schema with local references replaced, as far as types need it."""
    if not depth:
        return {}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        found: Any = root
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return _resolved(found, root, depth - 1) if isinstance(found, dict) else {}
    copy = dict(schema)
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(copy.get(key), list):
            copy[key] = [_resolved(each, root, depth - 1) for each in copy[key] if isinstance(each, dict)]
    return copy


def _types(schema: Mapping[str, Any], depth: int) -> Iterator[str]:
    """The names of types that a schema allows; none where it does not say."""
    kind = schema.get("type")
    if isinstance(kind, str):
        yield kind
    elif isinstance(kind, list):
        yield from (each for each in kind if isinstance(each, str))
    else:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        for each in values if isinstance(values, list) else ():
            yield "null" if each is None else _TYPE_OF.get(type(each), "string")
    for key in ("anyOf", "oneOf", "allOf"):
        if depth and isinstance(schema.get(key), list):
            for each in schema[key]:
                yield from _types(each, depth - 1) if isinstance(each, dict) else ()

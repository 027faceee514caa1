"""JSON Schema's keywords, by what they are about."""

from __future__ import annotations

from typing import Any

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Whose values are objects of schemas by name."""
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
SINGLE = (
    "additionalProperties", "unevaluatedProperties", "propertyNames", "items", "additionalItems", "unevaluatedItems",
    "contains", "not", "if", "then", "else",
)  # fmt: skip
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
OF_TYPE = {
    "object": (
        "properties", "additionalProperties", "patternProperties", "required", "minProperties", "maxProperties",
        "propertyNames", "unevaluatedProperties", "dependentRequired", "dependentSchemas",
    ),
    "array": (
        "items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains",
        "unevaluatedItems",
    ),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}  # fmt: skip
COPIED = (
    "type", "required", "minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum",
)  # fmt: skip
FORMATS = (
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri",
)  # fmt: skip
"""Those that the grammar library knows."""
KNOWN = frozenset((
    *COPIED, *LISTS, *SINGLE, *REFERENCES, *(keyword for group in OF_TYPE.values() for keyword in group),
    "const", "enum", "dependencies", "minContains", "maxContains",
))  # fmt: skip
"""Keywords that say what a value must be; all others are notes for readers."""


def ruling(schema: dict[str, Any]) -> set[str]:
    """The keywords of a schema that say something about values. null, but for const, is as good as nothing."""
    return {key for key, value in schema.items() if key in KNOWN and (value is not None or key == "const")}


def schemas_in(schema: dict[str, Any]) -> list[tuple[str, Any]]:
    """(path from here, schema) of what is directly inside, applied or not."""
    found: list[tuple[str, Any]] = []
    for key, value in schema.items():
        if key in MAPS and isinstance(value, dict):
            found += [(f"{key}/{name}", each) for name, each in value.items()]
        elif (key in LISTS or key == "items") and isinstance(value, list):
            found += [(f"{key}/{number}", each) for number, each in enumerate(value)]
        elif key in SINGLE:
            found.append((key, value))
        elif key == "dependencies" and isinstance(value, dict):
            found += [(f"{key}/{name}", each) for name, each in value.items() if not isinstance(each, list)]
    return found

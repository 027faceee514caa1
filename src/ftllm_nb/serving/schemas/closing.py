"""Which property names a schema speaks of, and whether it lets others in: what has to be known to close objects.

A schema's parts that apply to the same object (allOf, what `$ref` leads to, branches) must be closed together: closed
one by one, none would let in what another asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ftllm_nb.serving.schemas.keywords import REFERENCES

Resolve = Callable[[Any, dict[str, Any]], Any]


@dataclass(frozen=True)
class Names:
    """`names`: of properties, in their order; `declares`: the schema lists them; `is_open`: others are let in by the
    schema's own word."""

    names: tuple[str, ...] = ()
    declares: bool = False
    is_open: bool = False

    def __or__(self, other: Names) -> Names:
        names = tuple(dict.fromkeys((*self.names, *other.names)))
        return Names(names, self.declares or other.declares, self.is_open or other.is_open)

    @property
    def closes(self) -> bool:
        """Whether an object has these properties only."""
        return self.declares and not self.is_open


NOTHING = Names()


def own_names(schema: dict[str, Any], resolve: Resolve) -> Names:
    """Of all parts of a schema but the branches of its own anyOf and oneOf."""
    return _names(schema, resolve, frozenset(), with_branches=False)


def all_names(schema: Any, resolve: Resolve) -> Names:
    """Of all parts of a schema."""
    return _names(schema, resolve, frozenset(), with_branches=True)


def _names(schema: Any, resolve: Resolve, above: frozenset[int], with_branches: bool) -> Names:
    if not isinstance(schema, dict) or id(schema) in above:
        return NOTHING
    above |= {id(schema)}
    properties = schema.get("properties")
    found = Names(
        tuple(properties) if isinstance(properties, dict) else (),
        isinstance(properties, dict) or schema.get("unevaluatedProperties") is False,
        any(schema.get(key) not in (None, False) for key in ("additionalProperties", "unevaluatedProperties"))
        or bool(schema.get("patternProperties")),
    )
    found |= Names(tuple(strings(schema.get("required"))))
    parts = [*items(schema.get("allOf"))]
    parts += [resolve(schema[key], schema) for key in REFERENCES if schema.get(key) is not None]
    if with_branches:
        parts += [*items(schema.get("anyOf")), *items(schema.get("oneOf"))]
    for part in parts:
        found |= _names(part, resolve, above, True)
    dependent = [schema.get(key) for key in ("dependentRequired", "dependentSchemas", "dependencies")]
    conditional = [schema.get("then"), schema.get("else")]
    for each in dependent:
        if isinstance(each, dict):
            found |= Names(tuple(name for names in each.values() for name in strings(names)))
            conditional += each.values()
    for part in conditional:
        found |= Names(_names(part, resolve, above, True).names)
    return found


def closed(schema: dict[str, Any], names: Iterable[str], together: bool) -> dict[str, Any]:
    """The schema with these properties only. `together`: of its parts, others speak of properties, too."""
    if not together:
        properties = dict(schema.get("properties", {}))
        properties.update({name: {} for name in names if name not in properties})
        return {**schema, "properties": properties, "additionalProperties": False}
    last = {"properties": {name: {} for name in names}, "additionalProperties": False}
    return {**schema, "allOf": [*schema.get("allOf", ()), last]}


def items(value: Any) -> list[Any]:
    """A list that a schema should hold, or nothing."""
    return value if isinstance(value, list) else []


def strings(value: Any) -> list[str]:
    """The texts in a list that a schema should hold."""
    return [each for each in items(value) if isinstance(each, str)]

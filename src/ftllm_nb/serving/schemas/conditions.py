"""Keywords that the grammar library does not know, said in those that it knows."""

from __future__ import annotations

from typing import Any

from ftllm_nb.serving.schemas.closing import Resolve, items, strings
from ftllm_nb.serving.schemas.keywords import TYPES, ruling
from ftllm_nb.serving.schemas.patterns import compiles_pattern

MOST_DEPENDENT = 4
"""Each doubles the forms that an object may have."""
TRIVIAL_NAMES = {"type": "string"}


def negated(schema: Any, made: dict[str, Any]) -> dict[str, Any] | bool | None:
    """What is left where the schema does not hold: {} for everything, False for nothing, None where it cannot be said.
    `made`: what else is said of the value; its own types and values may be made fewer."""
    if isinstance(schema, bool):
        return False if schema else {}
    if not isinstance(schema, dict):
        return None
    keys = ruling(schema)
    if not keys:
        return False
    if keys == {"anyOf"}:
        parts = [negated(each, made) for each in items(schema["anyOf"])]
        kept = [each for each in parts if isinstance(each, dict) and each]
        return None if None in parts else False if False in parts else {"allOf": kept} if kept else {}
    if keys == {"type"}:
        return _without_types(schema["type"], made)
    if keys in ({"const"}, {"enum"}):
        return _without_values([schema["const"]] if "const" in keys else items(schema["enum"]), made)
    if keys == {"required"} and len(strings(schema["required"])) == 1:
        return {"properties": {schema["required"][0]: False}}
    return None


def _without_types(types: Any, made: dict[str, Any]) -> dict[str, Any] | bool | None:
    gone = [types] if isinstance(types, str) else items(types)
    allowed = made.get("type", list(TYPES[:2] + TYPES[3:]))
    kept = [each for each in ([allowed] if isinstance(allowed, str) else allowed) if each not in gone]
    if "integer" in gone and "number" in kept:
        return None
    if "number" in gone:
        kept = [each for each in kept if each != "integer"]
    return {"type": kept} if kept else False


def _without_values(gone: list[Any], made: dict[str, Any]) -> dict[str, Any] | bool | None:
    values = _values(made)
    if values is None:
        return None
    kept = [each for each in values if not any(_same(each, other) for other in gone)]
    return {"enum": kept} if kept else False


def _values(schema: Any) -> list[Any] | None:
    """All values that a schema allows, where it lists them."""
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return items(schema["enum"])
    types: dict[str, list[Any]] = {"boolean": [False, True], "null": [None]}
    return types.get(str(schema.get("type")))


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def chosen(node: dict[str, Any], resolve: Resolve) -> dict[str, Any] | None:
    """if, then and else as anyOf, where the condition is a listed property's value; otherwise None."""
    condition = node["if"]
    if isinstance(condition, bool):
        part = node.get("then" if condition else "else")
        return {"allOf": [{} if part is None else part]}
    if not isinstance(condition, dict) or not ruling(condition) <= {"properties", "required", "type"}:
        return None
    properties = condition.get("properties")
    if not isinstance(properties, dict) or len(properties) != 1 or not isinstance(node.get("properties"), dict):
        return None
    (name, wanted), asked = next(iter(properties.items())), node["properties"].get(next(iter(properties)))
    if isinstance(asked, dict) and asked.get("$ref") is not None:
        asked = resolve(asked["$ref"], asked)
    yes, every = _values(wanted), _values(asked)
    required = strings(condition.get("required"))
    if yes is None or every is None or not set(required) <= {name}:
        return None
    no = [each for each in every if not any(_same(each, other) for other in yes)]
    then, otherwise = node.get("then"), node.get("else")
    then, otherwise = {} if then is None else then, {} if otherwise is None else otherwise
    branches = [
        {"properties": {name: {"enum": values}}, "required": [name], "allOf": [part]}
        for values, part in ((yes, then), (no, otherwise))
        if values
    ]
    if name not in strings(node.get("required")):
        branches.append({"properties": {name: False}, "allOf": [otherwise if required else then]})
    return {"anyOf": branches}


def dependent(node: dict[str, Any]) -> list[dict[str, Any]] | None:
    """What dependentRequired, dependentSchemas and dependencies ask for, one schema each; None for too many."""
    found = []
    for key in ("dependentRequired", "dependentSchemas", "dependencies"):
        for name, needed in (node.get(key) or {}).items() if isinstance(node.get(key) or {}, dict) else ():
            if isinstance(needed, list):
                with_it: dict[str, Any] = {"required": [name, *strings(needed)]}
            else:
                with_it = {"required": [name], "allOf": [needed]}
            found.append({"anyOf": [with_it, {"properties": {name: False}}]})
    return found if len(found) <= MOST_DEPENDENT else None


def name_properties(names: Any, made: dict[str, Any]) -> bool:
    """Make properties have such names only; False where that cannot be said."""
    if names is True or (isinstance(names, dict) and all(TRIVIAL_NAMES.get(k) == names[k] for k in ruling(names))):
        return True
    if not isinstance(names, dict) or made.get("patternProperties") or made.get("properties"):
        return False
    value = made.get("additionalProperties", {})
    keys = ruling(names) - {"type"}
    listed = _values(names)
    if listed is not None and all(isinstance(each, str) for each in listed) and keys in ({"enum"}, {"const"}):
        made["properties"] = dict.fromkeys(listed, value)
    elif keys == {"pattern"} and isinstance(names["pattern"], str) and compiles_pattern(names["pattern"]):
        made["patternProperties"] = {names["pattern"]: value}
    else:
        return False
    made["additionalProperties"] = False
    return True


def at_most_one(made: dict[str, Any]) -> bool:
    """Whether an array has one item at most. It has no more than there are values, where its items are listed."""
    values = _values(made.get("items"))
    if values is not None:
        made["maxItems"] = min(made.get("maxItems", len(values)), len(values))
    return isinstance(made.get("maxItems"), int) and made["maxItems"] <= 1


def are_disjoint(branches: list[Any], resolve: Resolve) -> bool:
    """Whether no value follows two of the schemas: then oneOf is anyOf."""
    each = [_resolved(branch, resolve) for branch in branches]
    return all(_apart(one, other, resolve) for at, one in enumerate(each) for other in each[at + 1 :])


def _apart(one: Any, other: Any, resolve: Resolve) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one is False or other is False
    values, others = _values(one), _values(other)
    if values is not None and others is not None:
        return not any(_same(each, that) for each in values for that in others)
    types, other_types = _types(one), _types(other)
    if types and other_types and not types & other_types:
        return True
    if types != {"object"} or other_types != {"object"}:
        return False
    shared = set(strings(one.get("required"))) & set(strings(other.get("required")))
    return any(_apart(_property(one, name, resolve), _property(other, name, resolve), resolve) for name in shared)


def _property(schema: dict[str, Any], name: str, resolve: Resolve) -> Any:
    properties = schema.get("properties")
    return _resolved(properties.get(name) if isinstance(properties, dict) else None, resolve)


def _resolved(schema: Any, resolve: Resolve) -> Any:
    for _ in range(16):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            break
        schema = resolve(schema["$ref"], schema)
    return schema


def _types(schema: dict[str, Any]) -> set[str]:
    types = schema.get("type")
    found = {types} if isinstance(types, str) else set(strings(types))
    return found | {"number"} if "integer" in found else found

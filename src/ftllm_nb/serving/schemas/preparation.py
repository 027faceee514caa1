"""A client's JSON schema in the terms that the grammar library follows.

References are gathered under `$defs`, wherever they led. Objects that declare properties have no others, unless the
schema says so: a model would go on inventing some. What the library does not know is said in what it knows where that
can be done, and is otherwise passed over, or refused where the schema is strict.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.schemas import conditions
from ftllm_nb.serving.schemas.closing import NOTHING, Names, all_names, closed, items, own_names
from ftllm_nb.serving.schemas.keywords import COPIED, FORMATS, OF_TYPE, REFERENCES, TYPES, ruling
from ftllm_nb.serving.schemas.patterns import compiles, followable, is_regular_expression
from ftllm_nb.serving.schemas.references import LostReference, References

EXACT = 2**53
"""Integers up to here are the same as floats, which the library computes with."""
MOST_PASSED_OVER = 20


class Preparation:
    """Of the schemas of one request: they share `definitions`. `passed_over`: what is not followed, and where.
    `closes_patterns`: objects with `patternProperties` have no other properties, unless they say so."""

    def __init__(self, closes_patterns: bool = False) -> None:
        self.closes_patterns = closes_patterns
        self.definitions: dict[str, Any] = {}
        self.passed_over: list[str] = []

    def add(self, schema: Any, param: str, strict: bool = False) -> Any:
        """The schema, prepared; its references lead to `definitions`. ApiError for what is wrong in it."""
        return _Walk(self, schema, param, strict).prepared()

    def whole(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema made of prepared ones, with the definitions."""
        return {**schema, "$defs": self.definitions} if self.definitions else schema


class _Walk:
    """Through one schema."""

    def __init__(self, preparation: Preparation, root: Any, param: str, strict: bool) -> None:
        self._preparation = preparation
        self._root = root
        self._param = param
        self._strict = strict
        self._references = References(root if isinstance(root, dict) else {})
        self._names: dict[tuple[int, Names | None], str] = {}
        self._waiting: deque[tuple[str, Any, Names | None]] = deque()

    def prepared(self) -> Any:
        whole = self._schema(self._root, "#", NOTHING)
        while self._waiting:
            name, node, outer = self._waiting.popleft()
            self._preparation.definitions[name] = self._schema(node, "#/…", outer)
        return whole

    def _error(self, sentence: str) -> ApiError:
        return ApiError(400, f"the JSON schema is wrong: {sentence}.", param=self._param, code="invalid_schema")

    def _pass_over(self, what: str, path: str) -> None:
        if self._strict:
            raise ApiError(
                400,
                f"{what} at {path} cannot be enforced, which strict asks for: leave it out, or strict.",
                param=self._param,
                code="invalid_schema",
            )
        sentence = f"{what} at {path}"
        passed_over = self._preparation.passed_over
        if sentence not in passed_over and len(passed_over) < MOST_PASSED_OVER:
            passed_over.append(sentence)

    def _target(self, reference: Any, node: dict[str, Any]) -> Any:
        try:
            return self._references.target(reference, node)
        except LostReference as error:
            raise self._error(str(error)) from error

    def _schema(self, node: Any, path: str, outer: Names | None, alone: bool = True) -> Any:
        """`outer`: what the schemas around it say of the same object; None where one of those closes it.
        `alone`: nothing else is said of the value."""
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise self._error(f"{path} must be an object")
        keys = ruling(node)
        if keys and keys <= {"$ref"}:
            return self._reference(node["$ref"], node, outer)
        if keys == {"allOf"} and len(items(node["allOf"])) == 1:
            return self._schema(node["allOf"][0], f"{path}/allOf/0", outer, alone)
        made = self._own_keywords(node, keys, path)
        more = self._parts(node, keys, made, path)
        if made is None or more is None:
            return False
        has_branches = self._branches(node, keys, made, path, outer, alone)
        if more:
            made["allOf"] = [*made.get("allOf", ()), *more]
        if alone:
            _infer_type(made, keys)
        if outer is None or has_branches or not _may_be(made, "object"):
            return made
        names = own_names(node, self._target) | outer
        together = "allOf" in made or "$ref" in made
        if not names.closes or (not together and made.get("additionalProperties") is False):
            return made
        return closed(made, names.names, together)

    def _reference(self, reference: Any, node: dict[str, Any], outer: Names | None) -> Any:
        target = self._target(reference, node)
        if isinstance(target, bool):
            return target
        key = (id(target), outer)
        if key not in self._names:
            names = self._preparation.definitions
            self._names[key] = name = f"s{len(names)}"
            names[name] = True  # until its turn has come
            self._waiting.append((name, target, outer))
        return {"$ref": f"#/$defs/{self._names[key]}"}

    def _own_keywords(self, node: dict[str, Any], keys: set[str], path: str) -> dict[str, Any]:
        """What stands for itself, in the order in which it stands."""
        made: dict[str, Any] = {}
        for key, value in node.items():
            if key not in keys:
                continue
            here = f"{path}/{key}"
            if key == "type":
                made[key] = self._type(value, here)
            elif key in ("const", "enum"):
                self._values(key, value, made, here)
            elif key in COPIED:
                made[key] = value
            elif key in ("properties", "patternProperties"):
                if not isinstance(value, dict):
                    raise self._error(f"{here} must be an object")
                made[key] = {name: self._schema(each, f"{here}/{name}", NOTHING) for name, each in value.items()}
            elif key == "additionalProperties":
                made[key] = self._schema(value, here, NOTHING)
            elif key == "unevaluatedProperties":
                self._unevaluated(value, keys, made, path)
            elif key in ("prefixItems", "items", "additionalItems", "unevaluatedItems"):
                self._items(key, value, made, here)
            elif key in REFERENCES:
                made["$ref"] = self._reference(value, node, None)["$ref"]
            elif key == "multipleOf":
                if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
                    raise self._error(f"{here} must be a number above 0")
                if compiles({"type": "number", key: value}):
                    made[key] = value
                else:
                    self._pass_over(f"multipleOf {value}", path)
            elif key == "allOf":
                parts = enumerate(self._list(value, here))
                made[key] = [self._schema(each, f"{here}/{number}", None, False) for number, each in parts]
        self._text(node, keys, made, path)
        if "prefixItems" in made and not keys & {"allOf", "$ref"}:
            made.setdefault("items", False)  # a tuple's end
        if made.get("patternProperties"):
            if self._preparation.closes_patterns:
                made.setdefault("additionalProperties", False)
            self._pattern_properties(made, path)
        if {"minProperties", "maxProperties"} & made.keys():
            self._counts_of_properties(made, path)
        return made

    def _parts(
        self, node: dict[str, Any], keys: set[str], made: dict[str, Any], path: str
    ) -> list[dict[str, Any]] | None:
        """What other keywords mean, as schemas that hold as well; None where nothing can be right."""
        more: list[Any] = []
        if "not" in keys:
            rest = conditions.negated(node["not"], made)
            if rest is False:
                return None
            if rest is None:
                self._pass_over("not", path)
            else:
                more.append(rest)
        if "if" in keys and keys & {"then", "else"}:
            rest = conditions.chosen(node, self._target)
            if rest is None:
                self._pass_over("if", path)
            else:
                more.append(self._schema(rest, f"{path}/then", None, False))
        dependent = conditions.dependent(node)
        if dependent is None:
            self._pass_over("so many dependent properties", path)
        else:
            more += [self._schema(each, f"{path}/dependentSchemas", None, False) for each in dependent]
        if "propertyNames" in keys and not conditions.name_properties(node["propertyNames"], made):
            self._pass_over("propertyNames", path)
        if "contains" in keys and node.get("minContains") != 0:
            made["minItems"] = max(made.get("minItems", 0), node.get("minContains") or 1)
            self._pass_over("contains", path)
        if node.get("uniqueItems") is True and not conditions.at_most_one(made):
            self._pass_over("uniqueItems", path)
        return [each for each in more if each != {}]

    def _branches(
        self, node: dict[str, Any], keys: set[str], made: dict[str, Any], path: str, outer: Names | None, alone: bool
    ) -> bool:
        """Add anyOf and oneOf; whether there are any. Each branch is closed with what is said around it."""
        own = own_names(node, self._target)
        kinds = [key for key in ("anyOf", "oneOf") if key in keys]
        others = keys - {"anyOf", "oneOf"}
        for key in kinds:
            around: Names | None = None
            if outer is not None and not own.is_open:
                around = own | outer
                for other in kinds:
                    if other != key:
                        for each in items(node[other]):
                            around |= all_names(each, self._target)
                # Whether a branch is open is its own matter.
                around = Names(around.names, around.declares)
            branches = self._list(node[key], f"{path}/{key}")
            lonely = alone and not others and len(kinds) == 1
            made_branches = [
                self._schema(each, f"{path}/{key}/{number}", around, lonely) for number, each in enumerate(branches)
            ]
            if key == "oneOf" and not conditions.are_disjoint(branches, self._target):
                self._pass_over("oneOf whose branches may overlap", path)
            made[key if len(kinds) == 2 else "anyOf"] = made_branches
        return bool(kinds)

    def _type(self, value: Any, path: str) -> Any:
        types = [value] if isinstance(value, str) else value
        if not isinstance(types, list) or not types or not all(each in TYPES for each in types):
            raise self._error(f"{path} must be one of {', '.join(TYPES)}, or a list of them")
        return value

    def _values(self, key: str, value: Any, made: dict[str, Any], path: str) -> None:
        values = [value] if key == "const" else self._list(value, path)
        exact = [each for each in values if _is_exact(each)]
        if len(exact) < len(values):
            self._pass_over("a number of more than 15 digits", path)
        if exact or not values:
            made[key] = exact[0] if key == "const" else exact

    def _items(self, key: str, value: Any, made: dict[str, Any], path: str) -> None:
        if key == "prefixItems" or isinstance(value, list):
            parts = enumerate(self._list(value, path))
            made["prefixItems"] = [self._schema(each, f"{path}/{number}", NOTHING) for number, each in parts]
        elif key != "additionalItems" or "prefixItems" in made:
            made.setdefault("items", self._schema(value, path, NOTHING))

    def _unevaluated(self, value: Any, keys: set[str], made: dict[str, Any], path: str) -> None:
        """False is what closing means."""
        if keys & {"allOf", "anyOf", "oneOf", "if", *REFERENCES}:
            if not isinstance(value, bool):
                self._pass_over("unevaluatedProperties", path)
        elif "additionalProperties" not in keys:
            made["additionalProperties"] = self._schema(value, f"{path}/unevaluatedProperties", NOTHING)

    def _text(self, node: dict[str, Any], keys: set[str], made: dict[str, Any], path: str) -> None:
        if not _may_be(made, "string"):
            return
        if "pattern" in keys:
            pattern = node["pattern"]
            if not isinstance(pattern, str):
                raise self._error(f"{path}/pattern must be a text")
            known, exact = self._pattern(pattern, f"{path}/pattern")
            if known is not None:
                made["pattern"] = known
            if not exact:
                self._pass_over(f"pattern {pattern[:60]!r}", path)
        if "format" in keys:
            if node["format"] in FORMATS:
                made["format"] = node["format"]
            else:
                self._pass_over(f"format {str(node['format'])[:60]!r}", path)

    def _pattern(self, pattern: str, path: str) -> tuple[str | None, bool]:
        """See `followable`; an error for what is no regular expression at all."""
        known, exact = followable(pattern)
        if known is None and not is_regular_expression(pattern):
            raise self._error(f"{path} is no regular expression: {pattern[:60]!r}")
        return known, exact

    def _pattern_properties(self, made: dict[str, Any], path: str) -> None:
        patterns = made["patternProperties"]
        are_exact = [self._pattern(each, f"{path}/patternProperties")[1] for each in patterns]
        if all(are_exact) and compiles({"type": "object", "patternProperties": dict.fromkeys(patterns, True)}):
            return
        self._pass_over("patternProperties", path)
        del made["patternProperties"]
        made["additionalProperties"] = True

    def _counts_of_properties(self, made: dict[str, Any], path: str) -> None:
        counts: dict[str, Any] = {key: made[key] for key in ("minProperties", "maxProperties") if key in made}
        shape: dict[str, Any] = {key: made[key] for key in ("required", "additionalProperties") if key in made}
        names = made.get("properties", {})
        if not compiles({"type": "object", "properties": dict.fromkeys(names, True), **shape, **counts}):
            self._pass_over(" and ".join(counts), path)
            for key in counts:
                del made[key]

    def _list(self, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self._error(f"{path} must be a list")
        return value


def _infer_type(made: dict[str, Any], keys: set[str]) -> None:
    """Who speaks of properties means an object."""
    if keys & {"type", "const", "enum", *REFERENCES}:
        return
    has_parts = bool(keys & {"allOf", "anyOf", "oneOf"})
    for kind, words in OF_TYPE.items():
        if keys.intersection(("properties",) if has_parts else words):
            made["type"] = kind
            return


def _may_be(made: dict[str, Any], kind: str) -> bool:
    types = made.get("type")
    if types is None:
        return "const" not in made and "enum" not in made
    return kind in ([types] if isinstance(types, str) else types)


def _is_exact(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_exact, value.values()))
    if isinstance(value, list):
        return all(map(_is_exact, value))
    return not isinstance(value, int) or abs(value) <= EXACT

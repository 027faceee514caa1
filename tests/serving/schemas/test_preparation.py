"""Schemas as clients send them: what an answer may be, what may not, and what is passed over."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.constraints import GrammarConstraint
from ftllm_nb.serving.runaway import TokenKinds
from ftllm_nb.serving.schemas.preparation import Preparation
from tests.serving.schemas.byte_grammar import lets_through, matcher_of, prepared

INT, TEXT = {"type": "integer"}, {"type": "string"}


def obj(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def enum_of(*values: Any) -> dict[str, Any]:
    return {"enum": list(values)}


PLACE = obj({"ok": {"type": "boolean"}}, "ok")
TREE = obj({"leaf": {"type": "boolean"}, "kids": {"type": "array", "items": {"$ref": "#"}}}, "leaf", "kids")
KINDS = {name: obj({"kind": {"const": name}, "v": INT}, "kind", "v") for name in "AB"}
COUNTRY = obj(
    {"country": enum_of("US", "NL"), "code": TEXT}, "country", "code",
    **{"if": {"properties": {"country": {"const": "US"}}}, "then": {"properties": {"code": {"pattern": "^[0-9]{5}$"}}},
       "else": {"properties": {"code": {"pattern": "^[A-Z]{2}$"}}}},
)  # fmt: skip

# (schema, answers, what may not be answered)
CASES: dict[str, tuple[Any, list[Any], list[Any]]] = {
    # References.
    "$defs": (obj({"at": {"$ref": "#/$defs/P"}}, "at", **{"$defs": {"P": PLACE}}),
              [{"at": {"ok": True}}], [{"at": {"ok": True, "more": 1}}, {"at": {}}, {"at": {"ok": True}, "more": 1}]),
    "definitions": ({"$ref": "#/definitions/P", "definitions": {"P": PLACE}}, [{"ok": False}], [{}]),
    "root": (TREE, [{"leaf": True, "kids": [{"leaf": False, "kids": []}]}], [{"leaf": True, "kids": [{"kids": []}]}]),
    "properties": (obj({"a": INT, "b": {"$ref": "#/properties/a"}}, "a", "b"), [{"a": 1, "b": 2}], [{"a": 1, "b": ""}]),
    "escapes": ({"$ref": "#/$defs/a~1b%20~0c", "$defs": {"a/b ~c": INT}}, [1], ["x"]),
    "list": ({"anyOf": [INT, {"type": "array", "items": {"$ref": "#/anyOf/0"}}]}, [1, [1, 2]], [["x"]]),
    "anchor": ({"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "integer"}}}, [1], ["x"]),
    "id": ({"$id": "https://a.b/c", "$ref": "p.json", "$defs": {"x": {"$id": "p.json", "type": "integer"}}}, [1], [""]),
    "id, whole": ({"$id": "https://a.b/c", "$ref": "https://a.b/c#/$defs/x", "$defs": {"x": INT}}, [1], [""]),
    "beside notes": ({"$ref": "#/$defs/x", "description": "a number", "default": 3, "$defs": {"x": INT}}, [1], [""]),
    "beside rules": ({"$ref": "#/$defs/x", "maximum": 3, "$defs": {"x": INT}}, [1], [4]),
    "mutual": ({"$ref": "#/$defs/A", "$defs": {"A": obj({"b": {"$ref": "#/$defs/B"}}), "B": obj({"a": {"$ref":
               "#/$defs/A"}}, "a")}}, [{}, {"b": {"a": {}}}], [{"b": {}}]),
    # Objects are closed, together with what is said beside them.
    "closed": (obj({"a": INT}), [{}, {"a": 1}], [{"b": 1}, {"a": 1, "b": 1}]),
    "open": (obj({"a": INT}, additionalProperties=True), [{"b": 1}], [{"a": ""}]),
    "open to some": (obj({"a": INT}, additionalProperties=TEXT), [{"b": ""}], [{"b": 1}]),
    "open by {}": (obj({"a": INT}, additionalProperties={}), [{"b": 1}], []),
    "patterns": (obj({"a": INT}, patternProperties={"^x": TEXT}), [{"a": 1, "x1": ""}], [{"x1": 1}]),
    "any object": ({"type": "object"}, [{}, {"a": [1, {"b": None}]}], [1]),
    "no properties": (obj({}), [{}], [{"a": 1}]),
    "anything": ({}, [{"a": 1}, [1], None, 1.5], []),
    "required, undeclared": (obj({"a": INT}, "z"), [{"z": [1]}, {"a": 1, "z": 2}], [{"a": 1}, {"z": 1, "y": 1}]),
    "type forgotten": ({"properties": {"a": INT}, "required": ["a"]}, [{"a": 1}], [1, [], {"a": 1, "b": 2}]),
    "allOf": ({"allOf": [{"$ref": "#/$defs/A"}, obj({"b": INT}, "b")], "$defs": {"A": obj({"a": INT}, "a")}},
              [{"a": 1, "b": 2}], [{"a": 1}, {"b": 2}, {"a": 1, "b": 2, "c": 3}]),
    "allOf of one": (obj({"p": {"allOf": [{"$ref": "#/$defs/A"}], "title": "P"}}, "p", **{"$defs": {"A": PLACE}}),
                     [{"p": {"ok": True}}], [{"p": {"ok": True, "x": 1}}]),
    "allOf, one open": ({"allOf": [obj({"a": INT}, additionalProperties=True), obj({"b": INT})]}, [{"c": 1}], []),
    "anyOf beside": (obj({"k": INT}, "k", anyOf=[obj({"a": INT}, "a"), obj({"b": INT}, "b")]),
                     [{"k": 1, "a": 1}, {"k": 1, "b": 1}],
                     [{"k": 1}, {"k": 1, "a": 1, "b": 1}, {"k": 1, "a": 1, "c": 1}]),
    "anyOf of required": (obj({"a": INT, "b": INT}, anyOf=[{"required": ["a"]}, {"required": ["b"]}]),
                          [{"a": 1}, {"b": 1}, {"a": 1, "b": 1}], [{}, {"a": 1, "c": 1}]),
    "nullable": ({"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}], "$defs": {"P": PLACE}},
                 [None, {"ok": True}], [{"ok": True, "x": 1}, {}]),
    "nullable by type": (obj({"a": {"type": ["object", "null"], "properties": {"b": INT}}}, "a"),
                         [{"a": None}, {"a": {"b": 1}}], [{"a": {"c": 1}}]),
    "anyOf and oneOf": ({"type": "object", "anyOf": [obj({"a": INT}, "a"), obj({"b": INT}, "b")],
                         "oneOf": [obj({"c": {"const": 1}}, "c"), obj({"c": {"const": 2}, "d": INT}, "c")]},
                        [{"a": 1, "c": 1}, {"b": 1, "c": 2, "d": 1}], [{"a": 1}, {"c": 1}, {"a": 1, "c": 3}]),
    "unevaluated": ({"allOf": [obj({"a": INT})], "properties": {"b": INT}, "unevaluatedProperties": False},
                    [{"a": 1, "b": 1}, {"b": 1}, {"a": 1}, {}], [{"c": 1}]),
    "tuple": ({"type": "array", "prefixItems": [INT, TEXT], "minItems": 2}, [[1, ""]], [[1], [1, "", 3]]),
    "tuple of old drafts": ({"type": "array", "items": [INT, TEXT], "additionalItems": INT},
                            [[1, "", 3]], [[1, "", ""]]),
    # Keywords that are said otherwise.
    "oneOf": ({"oneOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}], "$defs": KINDS},
              [{"kind": "A", "v": 1}, {"kind": "B", "v": 1}], [{"kind": "C", "v": 1}]),
    "dependentRequired": (obj({"a": INT, "b": INT}, dependentRequired={"a": ["b"]}),
                          [{}, {"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
    "dependentSchemas": (obj({"a": INT}, dependentSchemas={"a": obj({"b": INT}, "b")}),
                         [{}, {"a": 1, "b": 1}], [{"a": 1}]),
    "dependencies": (obj({"a": INT, "b": INT}, dependencies={"a": ["b"]}), [{"a": 1, "b": 1}], [{"a": 1}]),
    "if": (COUNTRY, [{"country": "US", "code": "12345"}, {"country": "NL", "code": "AB"}],
           [{"country": "US", "code": "AB"}, {"country": "NL", "code": "12345"}]),
    "not, a type": ({"type": ["string", "null"], "not": {"type": "null"}}, ['""'], [None]),
    "not, a value": ({"enum": [1, 2, 3], "not": {"const": 2}}, [1, 3], [2]),
    "not required": (obj({"a": INT, "b": INT}, **{"not": {"required": ["a"]}}), [{"b": 1}], [{"a": 1}]),
    "propertyNames": ({"type": "object", "propertyNames": enum_of("a", "b"), "additionalProperties": INT},
                      [{}, {"a": 1, "b": 2}], [{"c": 1}, {"a": ""}]),
    "propertyNames of zod": ({"type": "object", "propertyNames": TEXT, "additionalProperties": INT},
                             [{"x": 1}], [{"x": ""}]),
    "propertyNames, a pattern": ({"type": "object", "propertyNames": {"pattern": "^x"}}, [{"x": 1}], [{"y": 1}]),
    "null for nothing": ({"type": "string", "enum": None, "pattern": None, "$ref": None}, ['""'], [1]),
    "notes": ({"type": "string", "title": 1, "x-order": [], "examples": {}, "deprecated": True}, ['"a"'], [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_may_be_answered(name: str) -> None:
    schema, right, wrong = CASES[name]
    before = json.dumps(schema)
    made, passed_over = prepared(schema)
    assert passed_over == [] and json.dumps(schema) == before
    matcher = matcher_of(made)
    assert [each for each in right if not lets_through(matcher, each)] == []
    assert [each for each in wrong if lets_through(matcher, each)] == []


# (schema, what is passed over, answers that stay possible, what is still refused)
PASSED_OVER: dict[str, tuple[Any, str, list[Any], list[Any]]] = {
    "format": ({"type": "string", "format": "path"}, "format 'path' at #", ['"/a"'], [1]),
    "look-ahead": ({"type": "string", "pattern": r"^(?!\.)(?=[a-z)\]]*@)[a-z.]+@[a-z]+$"}, "pattern",
                   ['"a@b"'], ['"a"']),
    "word's border": ({"type": "string", "pattern": r"\bfoo\b"}, "pattern", ['"foo"'], ['"bar"']),
    "backreference": ({"type": "string", "pattern": r"(a)\1"}, "pattern", ['"aa"'], [1]),
    "uniqueItems": ({"type": "array", "items": enum_of("a", "b"), "uniqueItems": True}, "uniqueItems at #",
                    [["a", "b"]], [["a", "b", "a"]]),
    "not": ({"type": "integer", "not": {"multipleOf": 2}}, "not at #", [1], [1.5]),
    "if": ({"type": "integer", "if": {"minimum": 3}, "then": {"maximum": 5}}, "if at #", [1], [""]),
    "contains": ({"type": "array", "items": INT, "contains": {"const": 1}}, "contains at #", [[1]], [[], [""]]),
    "propertyNames": (obj({"abc": INT}, propertyNames={"maxLength": 3}), "propertyNames at #", [{"abc": 1}], []),
    "minProperties": (obj({"a": INT, "b": INT}, minProperties=2), "minProperties at #", [{"a": 1, "b": 1}], [{"c": 1}]),
    "patternProperties": ({"type": "object", "patternProperties": {"^a": INT, "b$": INT}}, "patternProperties at #",
                          [{"ab": 1}], [1]),
    "multipleOf": ({"type": "number", "multipleOf": 3.5e10}, "multipleOf 35000000000.0 at #", [7e10], [""]),
    "large numbers": (enum_of(1, 2**60), "a number of more than 15 digits at #/enum", [1], [2]),
    "oneOf": ({"oneOf": [INT, {"type": "number"}]}, "oneOf whose branches may overlap at #", [1, 1.5], ['""']),
    "where": (obj({"a": {"type": "array", "items": {"type": "string", "format": "x"}}}),
              "format 'x' at #/properties/a/items", [{"a": ["x"]}], []),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_cannot_be_enforced_is_passed_over_and_said_unless_strict(name: str) -> None:
    schema, words, right, wrong = PASSED_OVER[name]
    made, passed_over = prepared(schema)
    assert len(passed_over) == 1 and passed_over[0].startswith(words)
    matcher = matcher_of(made)
    assert [each for each in right if not lets_through(matcher, each)] == []
    assert [each for each in wrong if lets_through(matcher, each)] == []
    with pytest.raises(ApiError, match="cannot be enforced, which strict asks for") as refused:
        prepared(schema, strict=True)
    assert words in str(refused.value)


@pytest.mark.parametrize("schema, sentence", [
    ({"$ref": "http://localhost/schema.json"}, "leads outside of the schema"),
    ({"$ref": "Place"}, "leads outside of the schema"),
    ({"$ref": "#/nowhere"}, "leads to no schema"),
    ({"$ref": "#anchor"}, "leads to no schema"),
    ({"$ref": "#/required", "required": ["a"]}, "leads to no schema"),
    ({"$ref": 1}, "must be a text"),
    ({"type": "nonsense"}, "#/type must be one of null, boolean"),
    ({"properties": {"a": {"type": []}}}, "#/properties/a/type must be one of"),
    ({"properties": []}, "#/properties must be an object"),
    ({"properties": {"a": 1}}, "#/properties/a must be an object"),
    ({"anyOf": {}}, "#/anyOf must be a list"),
    ({"multipleOf": 0}, "#/multipleOf must be a number above 0"),
    ({"multipleOf": -1.5}, "#/multipleOf must be a number above 0"),
    ({"multipleOf": "2"}, "#/multipleOf must be a number above 0"),
    ({"pattern": 1}, "#/pattern must be a text"),
    ({"pattern": "(a"}, "#/pattern is no regular expression"),
    ({"pattern": "a\\"}, "#/pattern is no regular expression"),
    ({"patternProperties": {"a\\": True}}, "#/patternProperties is no regular expression"),
])  # fmt: skip
def test_what_is_wrong_is_one_sentence(schema: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ApiError, match=r"^the JSON schema is wrong: .*[^.]\.$") as refused:
        prepared(schema)
    assert sentence in str(refused.value) and refused.value.status == 400


def test_several_schemas_share_their_definitions() -> None:
    preparation = Preparation()
    parts = [preparation.add({"$ref": "#/$defs/x", "$defs": {"x": each}}, "x") for each in (INT, TEXT)]
    matcher = matcher_of(preparation.whole({"type": "array", "prefixItems": parts, "minItems": 2, "items": False}))
    assert lets_through(matcher, [1, "a"]) and not lets_through(matcher, ["a", 1])


def test_text_that_is_certain_takes_few_tokens() -> None:
    tokens = [b"{", b'{"', b"n", b"na", b'name"', b'name":', b"o", b"o1", b'"', b'"o', b"x"]
    matcher = matcher_of(prepared(obj({"name": enum_of("o1", "o2")}, "name"))[0])
    kinds, every = TokenKinds(tokens), np.arange(len(tokens))
    constraint = GrammarConstraint(matcher, kinds, every, "schema", None)
    for written, left in ((b"", every.tolist()), (b'{"', [4, 5]), (b'name":"', every.tolist())):
        assert matcher.consume_tokens(list(written))
        assert constraint.allowed(1000).tolist() == left

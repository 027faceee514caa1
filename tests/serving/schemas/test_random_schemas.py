"""Whatever walk through the tokens that a grammar allows comes to an end, it is JSON that follows the schema.

Random schemas and random walks, judged by the jsonschema package.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import jsonschema
import numpy as np
import pytest

from ftllm_nb.serving.runaway import Runaway, TokenKinds
from tests.serving.schemas.byte_grammar import END, matcher_of, prepared

KINDS = TokenKinds([*(bytes([byte]) for byte in range(256)), b"<end>"])
SCHEMAS, WALKS, MOST_BYTES = 60, 2, 300
NAMES = ("a", "b", "name", "é", 'quo"ted', "back\\slash", "日本", "$ref", "type")
TEXTS = ("red", "grün", 'say "hi"', "a\\b", "line\nend", "🙂", "")
VALUES = (*TEXTS, 0, -7, 1.5, 12345678901, True, False, None, [1, "x"], {"k": []})


class Schemas:
    """Makes schemas; `definitions` are those that references lead to."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.definitions: dict[str, Any] = {}

    def whole(self) -> dict[str, Any]:
        self.definitions = {"node": True, "leaf": self.scalar()}
        self.definitions["node"] = self.object(2)
        self.definitions["base"] = {"type": "object", "properties": {"s": self.scalar()}, "required": ["s"]}
        return {**self.schema(3), "$defs": self.definitions}

    def schema(self, depth: int) -> dict[str, Any]:
        pick: Callable[[int], dict[str, Any]] = self.random.choice(
            [self.object, self.object, self.array, self.branches, self.together, self.reference, self.conditions]
            if depth > 0
            else [lambda _: self.scalar()]
        )
        return pick(depth - 1)

    def scalar(self) -> dict[str, Any]:
        rng = self.random
        low = rng.randint(-50, 50)
        return dict(rng.choice([
            {"type": "boolean"}, {"type": "null"}, {"type": "integer"}, {"type": "number"}, {"type": "string"},
            {"type": "integer", "minimum": low, "maximum": low + rng.randint(0, 300)},
            {"type": "number", "exclusiveMinimum": low, "maximum": low + 1.5},
            {"type": "integer", "multipleOf": rng.randint(1, 9)},
            {"type": "string", "minLength": 2, "maxLength": rng.randint(2, 6)},
            {"type": "string", "pattern": rng.choice(["^[a-c]{1,3}$", "x", r"^\d+-\d{2}$", '^["\\\\]+$'])},
            {"type": "string", "format": rng.choice(["date", "uuid", "ipv4"])},
            {"enum": rng.sample(VALUES, rng.randint(1, 4))}, {"const": rng.choice(VALUES)},
            {"type": ["string", "null"], "maxLength": 3}, {"enum": [f"choice {n}" for n in range(rng.randint(1, 300))]},
            {"enum": [1, 2, 3], "not": {"const": rng.randint(1, 3)}}, {"maxLength": 4},
        ]))  # fmt: skip

    def object(self, depth: int) -> dict[str, Any]:
        rng = self.random
        names = rng.sample(NAMES, rng.randint(0, 4))
        made: dict[str, Any] = {"type": "object", "properties": {name: self.schema(depth) for name in names}}
        made["required"] = [name for name in (*names, "z") if rng.random() < (0.5 if name in names else 0.1)]
        if rng.random() < 0.3:
            made["additionalProperties"] = rng.choice([False, True, {"type": "boolean"}])
        if made.get("additionalProperties") is False:
            made["required"] = [name for name in made["required"] if name in names]
        if len(names) > 1 and rng.random() < 0.3:
            made["dependentRequired"] = {names[0]: [names[1]]}
        return made

    def array(self, depth: int) -> dict[str, Any]:
        rng = self.random
        made: dict[str, Any] = {"type": "array", "items": self.schema(depth)}
        if rng.random() < 0.5:
            made.update(minItems=rng.randint(0, 2), maxItems=rng.randint(2, 4))
        if rng.random() < 0.2:
            made = {"type": "array", "prefixItems": [self.schema(depth), self.scalar()], "minItems": rng.randint(0, 2)}
        return made

    def branches(self, depth: int) -> dict[str, Any]:
        parts = [self.schema(depth) for _ in range(self.random.randint(1, 3))]
        around = self.object(depth) if self.random.random() < 0.3 else {}
        return {**around, "anyOf": [*parts, self.object(depth)]}

    def together(self, depth: int) -> dict[str, Any]:
        own = {"p": {"type": "integer"}, "q": {"type": "string"}}
        first = {"type": "object", "properties": {"p": {"maximum": 5, "minimum": 0}}, "required": ["p"]}
        others = [{"properties": {"r": self.schema(depth)}}, {"$ref": "#/$defs/base"}, {"title": "x"}]
        second = self.random.choice(others)
        return {"type": "object", "properties": own, "allOf": [first, second]}

    def reference(self, depth: int) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self.random.choice(['node', 'leaf'])}", "description": "somewhere else"}

    def conditions(self, depth: int) -> dict[str, Any]:
        condition = {"properties": {"kind": {"const": "A"}}, "required": ["kind"]}
        return {"type": "object", "properties": {"kind": {"enum": ["A", "B", "C"]}, "v": {"type": "integer"}},
                "required": self.random.choice([["kind"], []]), "if": condition, "then": {"required": ["v"]},
                "else": {"properties": {"w": self.schema(depth)}, "required": ["w"]}}  # fmt: skip


def walk(matcher: Any, rng: random.Random) -> str | None:
    """A random answer, None where it does not end in time."""
    runaway, answer = Runaway(KINDS), bytearray()
    for number in range(MOST_BYTES):
        mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")[: END + 1]
        ids = runaway.limited(np.flatnonzero(mask), MOST_BYTES - number)
        assert len(ids), bytes(answer)
        ends = [each for each in ids if each in (ord('"'), ord("]"), ord("}"), END)]
        token = int(rng.choice(ends) if ends and rng.random() < 0.4 else rng.choice(list(ids)))
        if token == END:
            return answer.decode()
        answer.append(token)
        assert matcher.consume_token(token)
        runaway.push(token)
    return None


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in (1, 2))])
def test_every_answer_follows_its_schema(part: int) -> None:
    ended = 0
    for seed in range(part, SCHEMAS, 3):
        schema = Schemas(seed).whole()
        made, passed_over = prepared(schema)
        assert passed_over == []
        error = "" if made is False else error_of(made)
        if made is False or "Unsatisfiable" in error or "circular references" in error:
            continue  # schemas that contradict themselves, or apply themselves to the same value
        assert error == "", (error, schema)
        matcher = matcher_of(made)
        for number in range(WALKS):
            text = walk(matcher.deep_copy(), random.Random(1000 * seed + number))
            if text is not None:
                ended += 1
                jsonschema.validate(json.loads(text), schema, jsonschema.Draft202012Validator)
    assert ended > 20


def error_of(schema: Any) -> str:
    try:
        matcher_of(schema)
    except AssertionError as error:
        return str(error)
    return ""

"""Calls in tags, an argument in each, as grammars: what follows an opening in an answer that is free."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.answers.markup import Markup
from ftllm_nb.answers.openings import Opening
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.answers.typed_text import property_schema, typed_json, types_of
from ftllm_nb.serving.constraints import Grammar, json_source
from ftllm_nb.serving.tool_calls import BLANKS, CALL_NAME, loose, spelled

_ANY_TEXT: tuple[dict[str, Any], ...] = (
    {"type": "string"}, {"type": ["string", "null"]}, {"type": ["null", "string"]},
    {"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "null"}, {"type": "string"}]},
)  # fmt: skip
"""Schemas that hold whatever text stands between the tags."""


class NoMarkup(Exception):
    """A schema says more than can be held where arguments are text; its text is which argument."""


@dataclass
class MarkupCalls:
    """`functions`: the schema of each function's parameters as the request has it, by its name; `arguments`: those of
    strict functions, prepared."""

    style: AnswerStyle
    markup: Markup
    functions: Mapping[str, Mapping[str, Any]]
    arguments: Mapping[str, Any]
    definitions: Mapping[str, Any]
    whitespace: str
    _lines: list[str] = field(default_factory=list)
    _sources: list[dict[str, Any]] = field(default_factory=list)

    def grammar(self, opening: Opening, only_one: bool) -> Grammar:
        """What follows the opening. Raises NoMarkup."""
        self._lines, self._sources = [BLANKS], []
        calls = " | ".join(self._call(name) for name in self.functions)
        again = loose(self.style, opening.rest)
        more = f"(BLANKS? {again} ({calls}))*" if opening.is_list and not only_one else ""
        start = f"start: BLANKS? {again} BLANKS? ({calls}) {more} BLANKS? {loose(self.style, opening.end)}"
        return Grammar(({"lark_grammar": "\n".join([start, *self._lines])}, *self._sources), CALL_NAME, "tools")

    def _call(self, name: str) -> str:
        markup = self.markup
        prepared = self.arguments.get(name)
        if prepared is None:
            key = f"{self._tag(markup.key[0])} /[\\w.\\-]+/ {self._closing(markup.key)}"
            parts = [f"({key} {self._text()})*"]
        else:
            if not set(prepared) <= {"type", "properties", "required", "additionalProperties"}:
                raise NoMarkup(name)
            required = prepared.get("required", ())
            parts = [
                part if key in required else f"({part})?"
                for key, schema in prepared.get("properties", {}).items()
                for part in [self._argument(name, key, schema)]
            ]
        head = f"{self._quoted(markup.call[0], name)} {self._tag(markup.call[1])} BLANKS?"
        return f"{head} {' '.join(parts)} {self._tag(markup.call_end)}"

    def _argument(self, name: str, key: str, schema: Any) -> str:
        place = f"{name}, at {key}"
        if not re.fullmatch(r"[\w.\-]+", key):
            raise NoMarkup(place)
        told = property_schema(self.functions[name], key)
        types = types_of(told)
        tag = self.markup.key
        before = f"{self._tag(tag[0])} {self._quoted(tag[0], key)} {self._closing(tag)}"
        if schema in _ANY_TEXT:
            return f"{before} {self._text()}"
        end = f"BLANKS? {self._tag(self.markup.value[1])} BLANKS?"
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        begin = f"{before} {self._value_begin()} BLANKS?"
        if types and "string" not in types:
            number = len(self._sources)
            more = {"$defs": self.definitions} if self.definitions else {}
            self._sources.append({**json_source({**schema, **more}, self.whitespace), "name": f"value{number}"})
            return f"{begin} @value{number} {end}"
        if values is None or set(schema) - {"enum", "const", "type"}:
            raise NoMarkup(place)
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
        for text, value in zip(texts, values, strict=True):
            if text != text.strip() or "<" in text or not text or json.loads(typed_json(text, told)) != value:
                raise NoMarkup(place)
        return f"{begin} ({' | '.join(json.dumps(text, ensure_ascii=False) for text in texts)}) {end}"

    def _text(self) -> str:
        """Any text, and the tag that ends it."""
        tag = self._tag(self.markup.value[1])
        number = len(self._lines)
        plain = re.match(r'"((?:[^"\\]|\\.)*)"', tag)
        ending = re.escape(json.loads(plain[0])).replace("/", r"\/") if plain else ""
        rest = tag[plain.end() :].strip() if plain else tag
        # Where a token follows, what stands before it ends there; else the text ends with the first tag.
        lazy = "" if rest else "[lazy]"
        self._lines.append(f"text{number}{lazy}: /(?s:.*){ending}/")
        return f"{self._value_begin()} text{number} {rest} BLANKS?"

    def _value_begin(self) -> str:
        return f"BLANKS? {self._tag(self.markup.value[0])}" if self.markup.value[0] else ""

    def _quoted(self, before: str, name: str) -> str:
        return json.dumps(f'"{name}"' if before.endswith("name=") else name)

    def _closing(self, key: tuple[str, str]) -> str:
        attributes = f"/{self.markup.attributes}/? " if self.markup.attributes else ""
        return attributes + self._tag(key[1])

    def _tag(self, text: str) -> str:
        return spelled(self.style, text) if text else ""

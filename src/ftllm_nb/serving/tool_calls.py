"""Calls of functions as grammars: as the whole answer, or in place of an answer of another form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ftllm_nb.answers.call_form import PLAIN, CallForm
from ftllm_nb.answers.openings import Opening
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.serving.constraints import WHITESPACE, Grammar, json_source

CALL_NAME = "schema of the function"
BLANKS = "BLANKS: /[ \\t\\r\\n]{1,16}/"
SHORTEST_TAG = 3
"""A family's calls that begin with less could be JSON that is no call."""


def forced_call(
    style: AnswerStyle, arguments: Mapping[str, Any], definitions: Mapping[str, Any], whitespace: str = WHITESPACE
) -> Grammar:
    """A call, behind what the family's form begins with. `arguments`: a prepared schema by the function's name."""
    rule, sources = _call(style, arguments, definitions, whitespace)
    return Grammar((_lark(f"start: {rule}"), *sources), "JSON schema", "tools", is_json=True)


def call_or(
    form: Grammar,
    style: AnswerStyle,
    arguments: Mapping[str, Any],
    definitions: Mapping[str, Any],
    only_one: bool,
    whitespace: str = WHITESPACE,
) -> Grammar:
    """An answer of the form, or calls as the family writes them."""
    family = style.family
    if family.form is PLAIN:
        begins = [tag for tag in family.begins if len(tag) >= SHORTEST_TAG]
        if not begins:
            return form
        tokens = " | ".join(f"<[{token_id}]>" for token_id in style.tags.marks)
        rest = f"(/(?s:.+)/{' | ' + tokens if tokens else ''})*"
        rules = f"({' | '.join(spelled(style, tag) for tag in begins)}) {rest}"
        sources: list[dict[str, Any]] = []
    else:
        prefix, suffix = spelled(style, family.form.prefix), spelled(style, family.form.suffix)
        rule, sources = _call(style, arguments, definitions, whitespace)
        rules = f"{prefix} ({rule}) {suffix}"
        if not only_one and family.form.name_key and suffix and not family.form.prefix.endswith("["):
            rules = f'{rules} ("\\n" {rules})*'
    first, *others = form.sources
    start = _lark(f"start: @form | calls\ncalls: {rules}")
    return Grammar((start, {**first, "name": "form"}, *others, *sources), form.what, form.param, form.is_json)


def begun_call(
    style: AnswerStyle,
    opening: Opening,
    arguments: Mapping[str, Any],
    definitions: Mapping[str, Any],
    only_one: bool,
    whitespace: str = WHITESPACE,
) -> Grammar:
    """What follows an opening in an answer that is free: calls, and what ends them."""
    rule, sources = _call(style, arguments, definitions, whitespace, opening)
    if opening.is_list:
        rule = rule if only_one else f'({rule}) (BLANKS? "," BLANKS? ({rule}))*'
    start = f"start: {loose(style, opening.rest)} BLANKS? ({rule}) BLANKS? {loose(style, opening.end)}\n{BLANKS}"
    return Grammar((_lark(start), *sources), CALL_NAME, "tools", is_json=True)


def call_schema(form: CallForm, arguments: Mapping[str, Any], has_leads: bool = False) -> dict[str, Any]:
    """The JSON schema of a call of one of the functions, where their names are in the JSON. `has_leads`: the form's
    leading keys may stand before the name."""
    leads = {key: {"type": "string"} if text is None else {"const": text} for key, text in form.leads if has_leads}
    alternatives = [
        {
            "type": "object",
            "properties": {**leads, form.name_key: {"const": name}, form.key: schema},
            "required": [form.name_key, form.key],
            "additionalProperties": False,
        }
        for name, schema in arguments.items()
    ]
    return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}


def spelled(style: AnswerStyle, text: str) -> str:
    """A text of ours in Lark's notation, in which tags that are tokens are those tokens."""
    ids = {mark: token_id for token_id, mark in style.tags.marks.items()}
    parts: list[str] = []
    plain = ""
    for letter in style.tags.mark(text):
        if letter in ids:
            parts += [json.dumps(plain, ensure_ascii=False)] if plain else []
            parts.append(f"<[{ids[letter]}]>")
            plain = ""
        else:
            plain += letter
    return " ".join([*parts, *([json.dumps(plain, ensure_ascii=False)] if plain else [])])


def _call(
    style: AnswerStyle,
    arguments: Mapping[str, Any],
    definitions: Mapping[str, Any],
    whitespace: str,
    opening: Opening | None = None,
) -> tuple[str, list[dict[str, Any]]]:
    """(what stands between the form's prefix and suffix, in Lark's notation; the grammars that it names). `opening`:
    the model began the call itself, and may write it as its family does."""
    form = style.family.form
    more = {"$defs": definitions} if definitions else {}
    if form.name_key:
        schema = call_schema(form, arguments, has_leads=opening is not None)
        return "@call", [{**json_source({**schema, **more}, whitespace), "name": "call"}]
    sources, rules = [], []
    for number, (name, schema) in enumerate(arguments.items()):
        sources.append({**json_source({**schema, **more}, whitespace), "name": f"arguments{number}"})
        if opening is None:
            before = spelled(style, name + form.separator)
        else:
            separator = form.separator if opening.separator is None else opening.separator
            before = f"{json.dumps(name)} {loose(style, separator)} BLANKS?"
        rules.append(f"{before} @arguments{number}")
    return " | ".join(rules), sources


def loose(style: AnswerStyle, text: str) -> str:
    """A text of ours as models write it: blanks may be there or not, and a number, which counts calls, is any."""
    parts = re.split(r"(\s+|[0-9]+)", text)
    return " ".join(
        "BLANKS?" if part.isspace() else "/[0-9]{1,3}/" if part.isdigit() else spelled(style, part)
        for part in parts if part
    )  # fmt: skip


def _lark(text: str) -> dict[str, Any]:
    return {"lark_grammar": text}

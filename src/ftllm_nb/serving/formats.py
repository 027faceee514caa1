"""What a request says that answers must be: JSON, a schema, calls of functions, a grammar; as one grammar."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftllm_nb.answers.call_form import PLAIN
from ftllm_nb.answers.family import Thinking
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.constraints import Grammar, json_source
from ftllm_nb.serving.gbnf import GrammarError, lark_of
from ftllm_nb.serving.markup_calls import MarkupCalls, NoMarkup
from ftllm_nb.serving.protocol import ChatRequest, Function, ResponseFormat, Sampling
from ftllm_nb.serving.regexes import RegexError, lark_of_regex
from ftllm_nb.serving.schemas.preparation import Preparation
from ftllm_nb.serving.service import Model
from ftllm_nb.serving.strict_calls import StrictCalls, begun_by
from ftllm_nb.serving.tool_calls import CALL_NAME, begun_call, call_or, forced_call

ANY_OBJECT = {"type": "object"}


@dataclass
class Form:
    """`constraints`: one for each answer, None for text; `notes`: for the request's line in the log; `warnings`: what
    the client should know."""

    constraints: Sequence[Constraint | None]
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def response_form(
    model: Model, body: Sampling, number: int, functions: Mapping[str, Function] | None = None, only_one: bool = False
) -> Form:
    """What each of `number` answers may be. ApiError where that cannot be followed, or is said in several ways.

    `functions`: those that may be called instead, by where the request has their parameters; `only_one`: call.
    """
    preparation = Preparation(body.closes_patterns)
    grammar = _Forms(model, preparation, body.whitespace).grammar(body)
    if grammar is None:
        return Form([None] * number)
    if functions:
        definitions = Preparation(body.closes_patterns)
        arguments = _prepared_arguments(model, definitions, functions)
        preparation.passed_over += definitions.passed_over
        grammar = call_or(grammar, model.style, arguments, definitions.definitions, only_one, body.whitespace)
    form = Form(model.grammars.constraints(grammar, number), _notes(preparation))
    strict = [function.name for function in (functions or {}).values() if function.strict]
    if strict and model.style.family.form is PLAIN:
        form.warnings.append(not_enforced(model.style, strict, " beside a response format"))
    return form


def call_form(model: Model, body: Sampling, functions: Mapping[str, Function], number: int) -> Form:
    """A call of one of the functions, as the whole answer. `functions`: by where the request has their parameters."""
    preparation = Preparation(body.closes_patterns)
    arguments = _prepared_arguments(model, preparation, functions)
    grammar = forced_call(model.style, arguments, preparation.definitions, body.whitespace)
    return Form(model.grammars.constraints(grammar, number), _notes(preparation))


def strict_form(
    model: Model,
    body: ChatRequest,
    functions: Mapping[str, Function],
    number: int,
    opened: Thinking | None,
) -> Form:
    """Answers that are free, and in which the arguments of functions that are strict follow their schemas. `functions`:
    all that may be called, by where the request has their parameters; `opened`: see `StrictCalls`."""
    style = model.style
    openings = style.family.openings(style.tags)
    strict = {param: function for param, function in functions.items() if function.strict}
    if not strict:
        return Form([None] * number)
    if not openings:
        return Form([None] * number, warnings=[not_enforced(style, [each.name for each in strict.values()])])
    preparation = Preparation(body.closes_patterns)
    arguments = {function.name: {"type": "object"} for function in functions.values()}
    prepared = _prepared_arguments(model, preparation, strict)
    arguments.update(prepared)
    begun = []
    only_one = body.parallel_tool_calls is False
    parameters = {function.name: function.parameters or {} for function in functions.values()}
    for opening in openings:
        if style.family.markup is None:
            grammar = begun_call(style, opening, arguments, preparation.definitions, only_one, body.whitespace)
        else:
            markup = MarkupCalls(
                style, style.family.markup, parameters, prepared, preparation.definitions, body.whitespace
            )
            try:
                grammar = markup.grammar(opening, only_one)
            except NoMarkup as place:
                return Form([None] * number, warnings=[not_enforced(style, [str(place)])])
        other = None
        if opening.no_call is not None:
            source = {"lark_grammar": f"start: OTHER\n{opening.no_call(arguments)}"}
            other = Grammar((source,), CALL_NAME, "tools")
        begun.append(begun_by(opening, style, model.grammars, grammar, other))
    return Form([StrictCalls(style, model.grammars, begun, opened) for _ in range(number)])


def not_enforced(style: AnswerStyle, names: Iterable[str], where: str = "") -> str:
    """What a client is told of functions that are strict in vain."""
    return (
        f"strict is not enforced for {', '.join(names)[:200]}{where}, unless tool_choice asks for a call: models of "
        f"the family {style.family.name} write arguments in a form that cannot be held to it."
    )


def _prepared_arguments(model: Model, preparation: Preparation, functions: Mapping[str, Function]) -> dict[str, Any]:
    prepared = {}
    for param, function in functions.items():
        model.grammars.check_size(function.parameters, "JSON schema", param)
        schema = arguments_schema(function.parameters, param)
        made = preparation.add(schema, param, bool(function.strict))
        if made is False:
            raise ApiError(400, "the JSON schema allows nothing.", param=param, code="invalid_schema")
        prepared[function.name] = made
    return prepared


def arguments_schema(parameters: dict[str, Any] | None, param: str) -> dict[str, Any]:
    """Arguments are an object, whatever else is said; without a word about them, there are none."""
    if not parameters:
        return {"type": "object", "properties": {}}
    types = parameters.get("type")
    if types is not None and types != "object" and not (isinstance(types, list) and "object" in types):
        raise ApiError(400, "the arguments of a function are an object: type must be object.", param=f"{param}.type")
    return {"type": "object", **parameters, **({"type": "object"} if types != "object" else {})}


def asked_forms(body: Sampling) -> dict[str, Any]:
    """Every form that the request asks for, by its field; those of llama.cpp, vLLM and SGLang among them."""
    form = body.response_format
    asked: dict[str, Any] = {"response_format": form if form is not None and form.type != "text" else None}
    asked.update({name: getattr(body, name) for name in (*_KINDS, "guided_choice")})
    inner = body.structured_outputs
    if inner is not None:
        asked.update({f"structured_outputs.{name}": value for name, value in inner.forms().items()})
    # llama.cpp's clients send "" for no grammar, and {} for no schema.
    nothing: tuple[Any, ...] = (None, False, "")
    if asked["json_schema"] == {}:
        asked["json_schema"] = None
    return {name: value for name, value in asked.items() if value not in nothing}


def check_no_other_form(body: Sampling) -> None:
    """ApiError where an answer that is a call is asked to be something else. A response format is what the answer has
    that is no call, so that the two may stand side by side."""
    other = next((name for name in asked_forms(body) if name != "response_format"), None)
    if other is not None:
        raise ApiError(400, f"{other} and a forced call exclude each other: leave one of them out.", param=other)


_KINDS = {
    "guided_json": "json", "json_schema": "json", "guided_regex": "regex", "regex": "regex",
    "guided_grammar": "grammar", "grammar": "grammar", "ebnf": "grammar",
}  # fmt: skip


class _Forms:
    """From a request's fields to a grammar."""

    def __init__(self, model: Model, preparation: Preparation, whitespace: str) -> None:
        self._model = model
        self._whitespace = whitespace
        self._preparation = preparation

    def grammar(self, body: Sampling) -> Grammar | None:
        asked = asked_forms(body)
        if not asked:
            return None
        if len(asked) > 1:
            first, second = list(asked)[:2]
            raise ApiError(400, f"{first} and {second} exclude each other: leave one of them out.", param=second)
        ((name, value),) = asked.items()
        if isinstance(value, ResponseFormat):
            return self._response_format(value)
        kind = _KINDS.get(name) or name.partition(".")[2] or "choice"
        if kind == "json_object":
            return self._schema(ANY_OBJECT, name)
        if kind == "json":
            return self._schema(_parsed(value, name), name)
        self._model.grammars.check_size(value, kind, name)
        if kind == "choice":
            texts = " | ".join(json.dumps(text, ensure_ascii=False) for text in value)
            return Grammar(({"lark_grammar": f"start: {texts}"},), "choice", name)
        if kind == "regex":
            try:
                return Grammar(({"lark_grammar": f"start: {lark_of_regex(value)}"},), "regular expression", name)
            except RegexError as error:
                reason = f"the regular expression cannot be followed: {str(error)[:300]}."
                raise ApiError(400, reason, param=name, code="invalid_schema") from error
        try:
            return Grammar(({"lark_grammar": lark_of(value)},), "grammar", name)
        except GrammarError as error:
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise ApiError(400, f"the grammar is wrong: {reason}.", param=name, code="invalid_schema") from error

    def _response_format(self, form: ResponseFormat) -> Grammar:
        if form.type == "json_object":
            return self._schema(form.schema_ or form.value or ANY_OBJECT, "response_format")
        if form.json_schema is None or form.json_schema.schema_ is None:
            raise ApiError(400, "json_schema must hold a schema.", param="response_format.json_schema")
        return self._schema(
            form.json_schema.schema_, "response_format.json_schema.schema", bool(form.json_schema.strict)
        )

    def _schema(self, schema: Any, param: str, strict: bool = False) -> Grammar:
        self._model.grammars.check_size(schema, "JSON schema", param)
        prepared = self._preparation.add(schema, param, strict)
        if prepared is False:
            raise ApiError(400, "the JSON schema allows nothing.", param=param, code="invalid_schema")
        whole = self._preparation.whole({} if prepared is True else prepared)
        return Grammar((json_source(whole, self._whitespace),), "JSON schema", param, is_json=True)


def _parsed(value: dict[str, Any] | str, param: str) -> dict[str, Any]:
    """A schema that may be given as a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = ""
    if not isinstance(value, dict):
        raise ApiError(400, f"{param} must be a JSON schema: an object, or the text of one.", param=param)
    return value


def _notes(preparation: Preparation) -> dict[str, Any]:
    return {"schema_passed_over": preparation.passed_over} if preparation.passed_over else {}

"""A model of one family without a server: what its answers may be where functions are strict, token by token."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ftllm_nb.answers.call_form import PLAIN
from ftllm_nb.answers.events import Arguments, CallBegins, CallEnds
from ftllm_nb.answers.families import family_named, family_names
from ftllm_nb.answers.markup import Markup
from ftllm_nb.answers.openings import Opening
from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.engine.request import Constraint
from ftllm_nb.serving.constraints import Grammars
from ftllm_nb.serving.formats import Form, strict_form
from ftllm_nb.serving.options import Limits
from ftllm_nb.serving.protocol import ChatRequest, Function
from ftllm_nb.tokenizer import load_tokenizer
from tests.answers.written import FUNCTIONS
from tests.puppet import write_puppet

LIKE_TOKENS = re.compile(r"[<\[◁｜][^<>\[\]]*[>\]▷｜]")
JSON_FAMILIES = [name for name in family_names() if family_named(name).form is not PLAIN]
MARKUP_FAMILIES = [name for name in family_names() if family_named(name).markup is not None]
OTHER_FAMILIES = sorted(set(family_names()) - {*JSON_FAMILIES, *MARKUP_FAMILIES})
BODY = ChatRequest.model_validate({"messages": [{"role": "user", "content": "?"}]})
BLANKS = {" ", "\n"}


class Written:
    """A model of one family, whose tags are tokens or text, and what its answers may be."""

    def __init__(self, folder: Path, family: str, are_tokens: bool, says: str = "hello") -> None:
        tags = list(filter(LIKE_TOKENS.fullmatch, family_named(family).all_tags())) if are_tokens else []
        write_puppet(folder, says, control=tags)
        self.tokenizer = load_tokenizer(folder, json.loads((folder / "tokenizer_config.json").read_text()), {})
        self.style = AnswerStyle(self.tokenizer, family)
        grammars = Grammars(self.tokenizer, self.tokenizer.vocab_size, Limits())
        self.model: Any = SimpleNamespace(style=self.style, grammars=grammars, tokenizer=self.tokenizer)
        self.texts = grammars.texts(self.style)
        self._made: dict[str, list[Constraint | None]] = {}

    def form(
        self, strict: Sequence[str] | None = None, functions: dict[str, dict[str, Any]] = FUNCTIONS, **more: Any
    ) -> Form:
        offered = {
            name: Function(name=name, parameters=parameters, strict=strict is None or name in strict)
            for name, parameters in functions.items()
        }
        return strict_form(self.model, BODY, offered, **{"number": 1, "opened": None, **more})

    def constraint(self, **more: Any) -> Constraint:
        """One of many that were made at once: grammars take a while."""
        made = self._made.setdefault(repr(more), [])
        made += () if made else self.form(**more, number=32).constraints
        constraint = made.pop()
        assert constraint is not None
        return constraint

    def stops_at(self, constraint: Constraint, ids: Sequence[int]) -> str | None:
        """What may be written of these tokens, if not all of it. Whitespace in excess is for test_runaway.py."""
        written, spelled = "", b""
        for token_id in ids:
            allowed = constraint.allowed(1000)
            text = self.texts.of(token_id)
            if allowed is not None and token_id not in allowed and not (text in BLANKS and written[-1:] in BLANKS):
                return spelled.decode()
            constraint.accept(token_id)
            written += text
            is_tag = token_id in self.style.tags.marks
            spelled += self.style.tags.spell(text).encode() if is_tag else text.encode("latin-1")
        return None

    def read(
        self, ids: Sequence[int], is_cut: bool = False, functions: dict[str, dict[str, Any]] = FUNCTIONS
    ) -> list[tuple[str, Any]]:
        """The calls in an answer, as the client gets them; those that are whole."""
        decoder, parser = self.style.decoder(), self.style.parser(functions)
        events = [event for token_id in ids for event in parser.push(decoder.push(token_id))]
        found: list[tuple[str, Any]] = []
        name = told = ""
        for event in [*events, *parser.finish(is_cut)]:
            if isinstance(event, CallBegins):
                name, told = event.name, ""
            elif isinstance(event, Arguments):
                told += event.text
            elif isinstance(event, CallEnds):
                found.append((name, json.loads(told)))
        return found


def in_tags(markup: Markup, name: str, arguments: Any) -> str:
    """A call behind its own tag."""
    quote = '"' if markup.call[0].endswith("name=") else ""
    line = "\n" if markup.trims_line_ends else ""
    parts = [f"{quote}{name}{quote}{markup.call[1]}\n"]
    for key, value in arguments.items() if isinstance(arguments, dict) else ():
        text = value if isinstance(value, str) else json.dumps(value)
        more = f' string="{"true" if isinstance(value, str) else "false"}"' if markup.attributes else ""
        parts.append(f"{markup.key[0]}{quote}{key}{quote}{more}{markup.key[1]}\n"[: None if markup.value[0] else -1])
        parts.append(f"{markup.value[0]}{line}{text}{line}{markup.value[1]}\n")
    return "".join([*parts, markup.call_end])


def spelled(model: Written, opening: Opening, name: str, arguments: str) -> str:
    """A call behind an opening, as the family writes it."""
    form, markup = model.style.family.form, model.style.family.markup
    if markup is not None:
        call = in_tags(markup, name, json.loads(arguments))
        begin = "" if opening.text == markup.call[0] else f"\n{markup.call[0]}"
        return f"{opening.text}{begin}{call}{opening.end}"
    if form.name_key:
        call = json.dumps({form.name_key: name})[:-1] + f', "{form.key}": {arguments}}}'
    else:
        call = name + (form.separator if opening.separator is None else opening.separator) + arguments
    return f"{opening.sample}{opening.text.removesuffix(opening.held)}{opening.rest}{call}{opening.end}"


KINDS = [(family, are_tokens) for family in JSON_FAMILIES for are_tokens in (True, False)]
KINDS.remove(("harmony", False))
IN_TAGS = [(family, are_tokens) for family in MARKUP_FAMILIES for are_tokens in (True, False)]

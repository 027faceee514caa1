"""Answers that must follow a grammar: llguidance says which tokens may come next."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llguidance
import numpy as np
from numpy.typing import NDArray

from ftllm_nb.answers.style import AnswerStyle
from ftllm_nb.engine.request import Constraint, ConstraintError
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.options import Limits
from ftllm_nb.serving.runaway import Runaway, TokenKinds
from ftllm_nb.serving.vocabulary_texts import VocabularyTexts
from ftllm_nb.tokenizer import Tokenizer

_LIMITS = llguidance.LLParserLimits(
    initial_lexer_fuel=1_000_000, step_lexer_fuel=200_000, step_max_items=50_000, max_lexer_states=50_000,
    max_grammar_size=100_000, verbose_errors=False,
)

WHITESPACE = r" |\n[ \t]{0,20}"
"""Of JSON: one space, or a line's end and an indentation: small models would go on with whitespace for ever."""


@dataclass(frozen=True)
class Grammar:
    """What answers may be. `sources`: grammars for the library, of which the first is where answers begin; `what`: its
    name in sentences; `param`: where the request has it; `is_json`: it is JSON, which small models must be kept from
    going on with."""

    sources: tuple[dict[str, Any], ...]
    what: str
    param: str
    is_json: bool = False

    @property
    def text(self) -> str:
        """For the library."""
        first, *others = self.sources
        if first.get("lark_grammar"):
            return json.dumps({"grammars": [{**first, "lark_grammar": _FREE + first["lark_grammar"]}, *others]})
        root = {"lark_grammar": f"{_FREE}start: @answer"}
        return json.dumps({"grammars": [root, {**first, "name": "answer"}, *others]})


_FREE = '%llguidance {"no_forcing": true}\n'
"""The library would have text that is certain cut as its tokenizer does, which is not every model's way."""


def json_source(schema: dict[str, Any], whitespace: str = WHITESPACE) -> dict[str, Any]:
    """JSON that follows a prepared schema (see `schemas.preparation`). `whitespace`: what may stand between its parts,
    a regular expression; "" for nothing."""
    return {"json_schema": {**schema, "x-guidance": {"whitespace_pattern": whitespace, "coerce_one_of": True}}}


class Grammars:
    """Makes constraints for one model. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, limits: Limits) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._limits = limits
        self._lock = threading.Lock()
        self._library: llguidance.LLTokenizer | None = None
        self._kinds: TokenKinds | None = None
        self._texts: VocabularyTexts | None = None

    def check_size(self, schema: Any, what: str, param: str) -> None:
        """ApiError for a schema, or a grammar's text, beyond the limits, or with what is no text."""
        if depth_of(schema) > self._limits.schema_depth:
            raise ApiError(400, f"the {what} is nested deeper than {self._limits.schema_depth}.", param=param)
        try:
            text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        except ValueError:
            message = f"the {what} holds NaN or a number without bounds, which JSON does not have."
            raise ApiError(400, message, param=param, code="invalid_schema") from None
        if len(text.encode("utf-8", "replace")) > self._limits.schema_bytes:
            raise ApiError(400, f"the {what} is larger than {self._limits.schema_bytes} bytes.", param=param)
        if found := _LONE_SURROGATE.search(text):
            half = f"\\u{ord(found[0]):04x}"
            raise ApiError(
                400, f"the {what} holds half of a character ({half}, a lone surrogate), which is no text.",
                param=param, code="invalid_schema",
            )  # fmt: skip

    def constraints(self, grammar: Grammar, number: int) -> list[Constraint]:
        """For each of `number` answers. ApiError where the grammar cannot be followed."""
        matcher, first = self.matcher(grammar)
        _, kinds = self._open_library()
        return [
            GrammarConstraint(
                matcher.deep_copy(), kinds, first, grammar.what, Runaway(kinds) if grammar.is_json else None
            )
            for _ in range(number)
        ]

    def matcher(self, grammar: Grammar) -> tuple[llguidance.LLMatcher, NDArray[np.intp]]:
        """(what follows the grammar, to be copied; the ids that come first). ApiError where it cannot be followed."""
        what, param = grammar.what, grammar.param
        library, _ = self._open_library()
        matcher = llguidance.LLMatcher(library, grammar.text, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            reason = reason_of(matcher.get_error(), has_lines=what == "grammar")
            raise ApiError(400, f"the {what} cannot be followed: {reason}.", param=param, code="invalid_schema")
        first = allowed_ids(matcher, self._vocab_size)
        if not len(first):
            raise ApiError(400, f"the {what} allows no beginning.", param=param, code="invalid_schema")
        return matcher, first

    def continued(self, matcher: llguidance.LLMatcher, grammar: Grammar) -> GrammarConstraint:
        """For what begins where the matcher, which is copied, stands in the grammar."""
        _, kinds = self._open_library()
        runaway = Runaway(kinds) if grammar.is_json else None
        return GrammarConstraint(matcher.deep_copy(), kinds, None, grammar.what, runaway)

    def texts(self, style: AnswerStyle) -> VocabularyTexts:
        """The tokens, with the style's tags in them."""
        library, kinds = self._open_library()
        with self._lock:
            if self._texts is None:
                unseen = dict.fromkeys(self._tokenizer.special_ids, "")  # which answers leave out
                self._texts = VocabularyTexts(kinds.tokens, {**unseen, **style.tags.marks}, library)
            return self._texts

    def _open_library(self) -> tuple[llguidance.LLTokenizer, TokenKinds]:
        with self._lock:
            if self._library is None or self._kinds is None:
                vocabulary = _Vocabulary(self._tokenizer, self._vocab_size)
                ends = sorted(each for each in self._tokenizer.eos_token_ids if each < self._vocab_size)
                self._kinds = TokenKinds(vocabulary.tokens)
                self._library = llguidance.LLTokenizer(
                    llguidance.TokenizerWrapper(vocabulary),
                    n_vocab=self._vocab_size,
                    eos_token=ends,
                    slices=llguidance.LLTokenizer.json_slices(),
                )
            return self._library, self._kinds


class GrammarConstraint:
    """See `Constraint`. `first`: the ids that an answer may begin with, None to ask for them; `what`: the grammar's
    name in sentences."""

    def __init__(
        self,
        matcher: llguidance.LLMatcher,
        kinds: TokenKinds,
        first: NDArray[np.intp] | None,
        what: str,
        runaway: Runaway | None,
    ) -> None:
        self._matcher = matcher
        self._kinds = kinds
        self._first = first
        self._what = what
        self._runaway = runaway

    def allowed(self, left: int) -> NDArray[np.intp]:
        """See `Constraint`."""
        ids = allowed_ids(self._matcher, len(self._kinds.tokens)) if self._first is None else self._first
        if not len(ids):
            raise ConstraintError(f"the answer cannot go on within the {self._what}: simplify it.")
        ids = self._most_of_what_is_certain(ids)
        return ids if self._runaway is None else self._runaway.limited(ids, left)

    def _most_of_what_is_certain(self, ids: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of text that has to come, such as a property's name, as much as a token holds: it costs steps, no choice."""
        if len(ids) < 2:
            return ids
        # The matcher would go on to what is certain, and past a control token there it allows nothing.
        certain = len(self._matcher.deep_copy().compute_ff_bytes())
        if certain < 2:
            return ids
        held = np.minimum(self._kinds.lengths[ids], certain)
        most: NDArray[np.intp] = ids[held == held.max()]
        return most

    def accept(self, token_id: int) -> None:
        """The token was chosen."""
        if not self.takes(token_id):
            raise ConstraintError(f"the answer cannot go on within the {self._what}: simplify it.")

    def takes(self, token_id: int) -> bool:
        """As `accept`; False, for the last time, where the grammar does not let the token follow."""
        self._first = None
        if not self._matcher.consume_token(token_id):
            return False
        if self._runaway is not None:
            self._runaway.push(token_id)
        return True

    @property
    def is_whole(self) -> bool:
        """Whether the answer may end here."""
        whole: bool = self._matcher.is_accepting()
        return whole


_PLAIN = (
    (re.compile("Expected f64"), "Expected a number"),
    (re.compile(r"Failed to generate regex for (\w+) range:.*"), r"no \1 is near enough to 0 in its range"),
)
"""What the library says of its own insides, and in place of it."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_REGEX_ERROR = re.compile(r"regex parse error:\n    (.*)\n    ( *)(\^+)\nerror: (.*)")
_POSITION = re.compile(r"^(?:at )?(\d+)\(\d+\): ")
_EXCERPT = re.compile(r"^ *(?:\d+ \|.*|\^+)$\n?", re.MULTILINE)


def reason_of(error: str, has_lines: bool) -> str:
    """What the library says, without the excerpt of what it was given, before which `_FREE` stands.

    `has_lines`: a place in the text is the user's, too, one line further up.
    """
    position = _POSITION.match(error)
    where = f"line {int(position[1]) - 1}: " if position and has_lines else ""
    if found := _REGEX_ERROR.search(error):
        wrong = found[1][len(found[2]) :][: len(found[3])]
        reason = f"{found[4].strip()}: {wrong}" if wrong else found[4].strip()
    else:
        reason = " ".join(_EXCERPT.sub("", _POSITION.sub("", error)).split()).rstrip(".") or "it is wrong"
    for internal, plain in _PLAIN:
        reason = internal.sub(plain, reason)
    return (where + reason)[:300]


def allowed_ids(matcher: llguidance.LLMatcher, vocab_size: int) -> NDArray[np.intp]:
    """The ids that may come next, ascending; none where the grammar cannot be followed."""
    mask = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    ids: NDArray[np.intp] = np.flatnonzero(np.unpackbits(mask, bitorder="little")[:vocab_size])
    return ids[:0] if matcher.is_error() else ids


class _Vocabulary:
    """What `TokenizerWrapper` reads."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self.bos_token_id = tokenizer.bos_token_id
        ends = tokenizer.eos_token_ids
        self.eos_token_id = min(ends) if ends else vocab_size - 1
        self.special_token_ids: Sequence[int] = sorted(tokenizer.special_ids | ends)
        self.tokens = [tokenizer.token_bytes(token_id) for token_id in range(vocab_size)]
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode_text(text)


def depth_of(value: Any) -> int:
    """How deep lists and objects are nested."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        inner: list[Any] = []
        for each in level:
            inner += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        level = [each for each in inner if isinstance(each, (dict, list))]
    return deepest

"""Answers that must follow a grammar: llguidance says which tokens may come next."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import llguidance
import numpy as np
from numpy.typing import NDArray

from ftllm_nb.engine.request import Constraint, ConstraintError
from ftllm_nb.serving.api_errors import ApiError
from ftllm_nb.serving.options import Limits
from ftllm_nb.tokenizer import Tokenizer

_LIMITS = llguidance.LLParserLimits(
    initial_lexer_fuel=1_000_000, step_lexer_fuel=200_000, step_max_items=50_000, max_lexer_states=50_000,
    max_grammar_size=100_000, verbose_errors=False,
)

JSON_OPTIONS = {"whitespace_pattern": r" |\n[ \t]{0,20}"}
"""One space, or a line's end and an indentation: small models would go on with whitespace for ever."""


class Grammars:
    """Makes constraints for one model. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, limits: Limits) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._limits = limits
        self._lock = threading.Lock()
        self._library: llguidance.LLTokenizer | None = None

    def check_size(self, schema: Any, param: str) -> None:
        """ApiError for a schema beyond the limits."""
        if depth_of(schema) > self._limits.schema_depth:
            raise ApiError(400, f"the JSON schema is nested deeper than {self._limits.schema_depth}.", param=param)
        if len(json.dumps(schema)) > self._limits.schema_bytes:
            raise ApiError(400, f"the JSON schema is larger than {self._limits.schema_bytes} bytes.", param=param)

    def json_schema(self, schema: Any, param: str, number: int, strict: bool = False) -> list[Constraint]:
        """JSON that follows a prepared schema (`schemas.preparation`), for each of `number` answers. ApiError where it
        cannot be followed. `strict`: oneOf means one of them exactly."""
        options: Any = {**JSON_OPTIONS, "coerce_one_of": not strict}
        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=options)
        return self._constraints(grammar, "JSON schema", param, number)

    def _constraints(self, grammar: str, what: str, param: str, number: int) -> list[Constraint]:
        matcher = llguidance.LLMatcher(self._open_library(), grammar, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())[:300].rstrip(".")
            raise ApiError(400, f"the {what} cannot be followed: {reason}.", param=param, code="invalid_schema")
        first = allowed_ids(matcher, self._vocab_size)
        if not len(first):
            raise ApiError(400, f"the {what} allows no beginning.", param=param, code="invalid_schema")
        return [GrammarConstraint(matcher.deep_copy(), self._vocab_size, first) for _ in range(number)]

    def _open_library(self) -> llguidance.LLTokenizer:
        with self._lock:
            if self._library is None:
                wrapper = llguidance.TokenizerWrapper(_Vocabulary(self._tokenizer, self._vocab_size))
                ends = sorted(each for each in self._tokenizer.eos_token_ids if each < self._vocab_size)
                self._library = llguidance.LLTokenizer(
                    wrapper, n_vocab=self._vocab_size, eos_token=ends, slices=llguidance.LLTokenizer.json_slices()
                )
            return self._library


class GrammarConstraint:
    """See `Constraint`. `first`: the ids that an answer may begin with."""

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int, first: NDArray[np.intp]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._first: NDArray[np.intp] | None = first

    def allowed(self) -> NDArray[np.intp]:
        """The ids that may come next, ascending."""
        ids = allowed_ids(self._matcher, self._vocab_size) if self._first is None else self._first
        if not len(ids):
            raise ConstraintError("the answer cannot go on within the JSON schema: simplify it.")
        return ids

    def accept(self, token_id: int) -> None:
        """The token was chosen."""
        self._first = None
        if not self._matcher.consume_token(token_id):
            raise ConstraintError("the answer cannot go on within the JSON schema: simplify it.")


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

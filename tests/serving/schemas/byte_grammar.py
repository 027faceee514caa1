"""A grammar over a vocabulary of bytes: which texts a prepared schema lets through."""

from __future__ import annotations

import json
from typing import Any

import llguidance

from ftllm_nb.serving.constraints import Grammar, json_source
from ftllm_nb.serving.schemas.preparation import Preparation

END = 256


class _Bytes:
    bos_token_id, eos_token_id, special_token_ids = END, END, (END,)
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")

    def __call__(self, text: str) -> list[int]:
        return list(text.encode())


LIBRARY = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()), n_vocab=END + 1, eos_token=[END])


def prepared(schema: Any, strict: bool = False) -> tuple[Any, list[str]]:
    """(the schema as the library gets it, what is passed over)."""
    preparation = Preparation()
    made = preparation.add(schema, "schema", strict)
    return preparation.whole(made), preparation.passed_over


def matcher_of(schema: Any) -> llguidance.LLMatcher:
    """Of a prepared schema."""
    matcher = llguidance.LLMatcher(LIBRARY, Grammar((json_source(schema),), "", "").text, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    return matcher


def lets_through(matcher: llguidance.LLMatcher, value: Any) -> bool:
    """Whether the value, as compact JSON, may be an answer. A str is taken as it is."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    copy = matcher.deep_copy()
    data = list(text.encode())
    return copy.try_consume_tokens(data) == len(data) and copy.is_accepting()

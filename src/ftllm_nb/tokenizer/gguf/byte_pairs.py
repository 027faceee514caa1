"""Vocabularies that merge pairs by a list of merges, run by the tokenizers library."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from operator import contains
from typing import Any

from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.formats.tokenizer_json import TokenizerJsonBackend, to_library
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary

MERGES = "tokenizer.ggml.merges"


@contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    """Python looks for cycles whenever some hundred objects are made, and would look at each of ours many times."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def byte_pair_model(vocabulary: GgufVocabulary, **options: Any) -> Any:
    """A tokenizers.Tokenizer with the file's merges and nothing else; `options` are those of its BPE."""
    from tokenizers import Tokenizer, models

    metadata = vocabulary.metadata
    merges = metadata.texts(MERGES)
    if merges is None:
        raise metadata.error(MERGES, "is missing, and the vocabulary makes tokens by merges")
    parts = " ".join(merges).split(" ")  # few calls for all: there are hundreds of thousands
    if merges and not (len(parts) == 2 * len(merges) and all(map(contains, merges, repeat(" ")))):
        at = next(at for at, merge in enumerate(merges) if merge.count(" ") != 1)
        raise metadata.error(MERGES, f"must list two tokens with a space between, and {at} is {shorten(merges[at])}")
    with _no_search_for_garbage():
        pairs = list(zip(parts[::2], parts[1::2], strict=bool(merges)))
    try:
        return Tokenizer(models.BPE(vocabulary.ids, pairs, **options))
    except Exception as error:  # the library's own class of errors is Exception
        for at, (left, right) in enumerate(pairs):
            missing = [token for token in (left, right, left + right) if token not in vocabulary.ids]
            if missing:
                joined = f"joins {shorten(left)} and {shorten(right)} as {at}"
                raise metadata.error(MERGES, f"{joined}, and {shorten(missing[0])} is no token") from error
        raise


def backend_of(library: Any, vocabulary: GgufVocabulary, adds_bos: bool) -> Backend:
    """The library's tokenizer with the file's added tokens, and with what the file puts around a text."""
    from tokenizers import processors

    added = vocabulary.added().values()
    library.add_special_tokens([to_library(token) for token in added if token.special])
    library.add_tokens([to_library(token) for token in added if not token.special])
    named = {role: token.content for role, token in vocabulary.named().items()}
    before = [named["bos_token"]] if vocabulary.adds("bos", adds_bos) else []
    after = [named["eos_token"]] if vocabulary.adds("eos", False) else []
    ends = [(token, vocabulary.ids[token]) for token in {*before, *after}]
    try:
        library.post_processor = processors.TemplateProcessing(single=[*before, "$A", *after], special_tokens=ends)
    except ValueError as error:  # its form gives some spellings, such as "$B" and "a:b", a meaning of their own
        raise vocabulary.metadata.error(
            "tokenizer.ggml.tokens", f"spells {' and '.join(map(shorten, before + after))} as the ends of a text"
        ) from error
    return TokenizerJsonBackend(library, vocabulary.where, named, added_are_text=True)


def merges_of(state: dict[str, Any]) -> list[str] | None:
    """The merges of a parsed tokenizer.json as GGUF has them, "left right"; None where it merges no pairs so."""
    model = state["model"]
    if model["type"] != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return None
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]

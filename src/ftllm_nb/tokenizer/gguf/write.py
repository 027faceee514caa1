"""A model's tokenizer as entries of a GGUF file's metadata."""

from __future__ import annotations

from typing import Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.gguf.metadata import Metadata
from ftllm_nb.tokenizer.gguf.models import named_kind, vocabulary_kinds
from ftllm_nb.tokenizer.gguf.outgoing import OutgoingVocabulary
from ftllm_nb.tokenizer.gguf.templates import TEMPLATE
from ftllm_nb.tokenizer.gguf.vocabulary import ROLES, read_vocabulary
from ftllm_nb.tokenizer.tokenizer import Tokenizer


def tokenizer_entries(tokenizer: Tokenizer, rows: int, where: str) -> dict[str, Any]:
    """The entries; `rows`: how many tokens the model has, `where`: its path. `TokenizerError` for what GGUF has no
    entry
    for."""
    backend = tokenizer.backend
    if backend.vocab_size > rows:
        raise TokenizerError(
            f"the tokenizer of {where} has {backend.vocab_size:,} tokens, and the model's embedding {rows:,} rows, "
            "where a GGUF file has as many of both: download the model again."
        )
    vocabulary = OutgoingVocabulary(backend, rows, where)
    found = _of_some_kind(vocabulary)
    entries: dict[str, Any] = {
        "tokenizer.ggml.model": found.pop("tokenizer.ggml.model"),
        "tokenizer.ggml.pre": found.pop("tokenizer.ggml.pre"),
        "tokenizer.ggml.tokens": vocabulary.tokens,
        "tokenizer.ggml.token_type": vocabulary.kinds,
        **found,
    }
    for role, key in ROLES.items():
        token_id = backend.token_to_id(backend.named_tokens.get(role, ""))
        if role in backend.named_tokens and token_id is not None:
            entries[f"tokenizer.ggml.{key}_token_id"] = token_id
    entries |= _ends(tokenizer, entries, where)
    entries |= _surroundings(tokenizer, where)
    return {**entries, **_templates(tokenizer)}


def _of_some_kind(vocabulary: OutgoingVocabulary) -> dict[str, Any]:
    for name in vocabulary_kinds():
        found = named_kind(name).entries(vocabulary)
        if found is not None:
            return {"tokenizer.ggml.model": name, **found}
    raise TokenizerError(
        f"the tokenizer of {vocabulary.where} is of a kind that no GGUF file can hold: those hold byte-level "
        "vocabularies that merge pairs, and SentencePiece's."
    )


def _ends(tokenizer: Tokenizer, entries: dict[str, Any], where: str) -> dict[str, int]:
    """Tokens at which an answer ends and that readers do not know by their spelling: there are three places."""
    ends = sorted(tokenizer.eos_token_ids)
    found: dict[str, int] = {}
    if "tokenizer.ggml.eos_token_id" not in entries and ends:
        found["tokenizer.ggml.eos_token_id"] = ends[0]
    for role in ("eot", "eom"):
        known = read_vocabulary(Metadata({**entries, **found}, where), {}, None).end_ids
        missing = [each for each in ends if each not in known and each < len(entries["tokenizer.ggml.tokens"])]
        if missing:
            found[f"tokenizer.ggml.{role}_token_id"] = missing[0]
    return found


def _surroundings(tokenizer: Tokenizer, where: str) -> dict[str, bool]:
    """What is put around a text: a beginning, an end."""
    found = {}
    for role, ids in zip(("bos", "eos"), tokenizer.backend.surrounding_tokens(), strict=True):
        expected = tokenizer.bos_token_id if role == "bos" else tokenizer.eos_token_id
        if ids not in ([], [expected]):
            tokens = ", ".join(shorten(tokenizer.id_to_token(each)) for each in ids)
            raise TokenizerError(
                f"the tokenizer of {where} puts {tokens} beside a text, where a GGUF file can only say that its {role} "
                "token goes there."
            )
        found[f"tokenizer.ggml.add_{role}_token"] = bool(ids)
    return found


def _templates(tokenizer: Tokenizer) -> dict[str, Any]:
    templates = {name: template.source for name, template in tokenizer.templates.items()}
    default = templates.pop("default", None)
    found: dict[str, Any] = {} if default is None else {TEMPLATE: default}
    if templates:
        found[f"{TEMPLATE}s"] = list(templates)
    return {**found, **{f"{TEMPLATE}.{name}": source for name, source in templates.items()}}

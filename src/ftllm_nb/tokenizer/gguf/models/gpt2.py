"""Byte-level vocabularies: text is cut into words, and in each pairs of bytes merge into tokens."""

from __future__ import annotations

import json
from typing import Any

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.formats.tokenizer_json import TokenizerJsonBackend
from ftllm_nb.tokenizer.gguf.byte_pairs import MERGES, backend_of, byte_pair_model, merges_of
from ftllm_nb.tokenizer.gguf.outgoing import OutgoingVocabulary
from ftllm_nb.tokenizer.gguf.pre_tokenizers import PreTokenizer, name_of, pre_tokenizer_of
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary

DEFAULT_ROLES: dict[str, int] = {}


def open_backend(vocabulary: GgufVocabulary) -> Backend:
    """The vocabulary behind its family's pre-tokenizer."""
    from tokenizers import decoders, normalizers

    metadata = vocabulary.metadata
    way = pre_tokenizer_of(
        metadata.text("tokenizer.ggml.pre"), metadata.text("general.architecture") or "", vocabulary.where
    )
    library = byte_pair_model(vocabulary, ignore_merges=way.whole_words)
    if way.nfc:
        library.normalizer = normalizers.NFC()
    library.pre_tokenizer = _cutter(way)
    library.decoder = decoders.ByteLevel()
    return backend_of(library, vocabulary, way.adds_bos)


def entries(vocabulary: OutgoingVocabulary) -> dict[str, Any] | None:
    """What the metadata has of a vocabulary of this kind, None for one that is of another. `TokenizerError` for a way
    of
    cutting words that has no name."""
    backend = vocabulary.backend
    if not isinstance(backend, TokenizerJsonBackend):
        return None
    state = backend.state
    merges = merges_of(state)
    if merges is None or '"ByteLevel"' not in json.dumps(state["pre_tokenizer"]) or state["model"]["byte_fallback"]:
        return None
    pre = name_of(
        backend.cut, _cutter, "NFC" in json.dumps(state["normalizer"]), bool(state["model"].get("ignore_merges")),
        vocabulary.where,
    )  # fmt: skip
    return {"tokenizer.ggml.pre": pre, MERGES: merges}


def _cutter(way: PreTokenizer) -> Any:
    """The library's pre-tokenizer that cuts so."""
    from tokenizers import Regex, pre_tokenizers

    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in way.patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

"""Gemma 4's vocabulary: merges of characters over the whole text, whose spaces are "▁"; bytes for the rest."""

from __future__ import annotations

from typing import Any

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.byte_pairs import backend_of, byte_pair_model
from ftllm_nb.tokenizer.gguf.outgoing import OutgoingVocabulary
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary

DEFAULT_ROLES: dict[str, int] = {}


def open_backend(vocabulary: GgufVocabulary) -> Backend:
    """The vocabulary, which is not cut into words first."""
    from tokenizers import decoders, normalizers

    unknown = vocabulary.named().get("unk_token")
    library = byte_pair_model(
        vocabulary, byte_fallback=True, fuse_unk=True, unk_token=None if unknown is None else unknown.content
    )
    library.normalizer = normalizers.Replace(" ", "▁")
    library.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return backend_of(library, vocabulary, adds_bos=True)


def entries(vocabulary: OutgoingVocabulary) -> dict[str, Any] | None:
    """None: no file of Gemma 4 is written, and other vocabularies of this form are SentencePiece's."""
    return None

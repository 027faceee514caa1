"""SentencePiece's vocabularies that choose the likeliest pieces."""

from __future__ import annotations

from typing import Any

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.outgoing import OutgoingVocabulary
from ftllm_nb.tokenizer.gguf.pieces import LIKELIEST, open_pieces, piece_entries
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary

DEFAULT_ROLES = {"pad_token": 0, "eos_token": 1, "unk_token": 2}


def open_backend(vocabulary: GgufVocabulary) -> Backend:
    """The vocabulary with a space before each text, unless the file says otherwise."""
    return open_pieces(vocabulary, LIKELIEST, adds_bos=False, adds_eos=True)


def entries(vocabulary: OutgoingVocabulary) -> dict[str, Any] | None:
    """What the metadata has of a vocabulary of this kind, None for one that is of another."""
    return piece_entries(vocabulary, LIKELIEST)

"""SentencePiece's vocabularies that merge pairs, the best score first."""

from __future__ import annotations

from typing import Any

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.outgoing import OutgoingVocabulary
from ftllm_nb.tokenizer.gguf.pieces import BYTE_PAIRS, open_pieces, piece_entries
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary

DEFAULT_ROLES = {"unk_token": 0, "bos_token": 1, "eos_token": 2}


def open_backend(vocabulary: GgufVocabulary) -> Backend:
    """The vocabulary with a space before each text, unless the file says otherwise."""
    return open_pieces(vocabulary, BYTE_PAIRS, adds_bos=True, adds_eos=False)


def entries(vocabulary: OutgoingVocabulary) -> dict[str, Any] | None:
    """What the metadata has of a vocabulary of this kind, None for one that is of another."""
    return piece_entries(vocabulary, BYTE_PAIRS)

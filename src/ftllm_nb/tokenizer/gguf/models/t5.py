"""SentencePiece's vocabularies that choose the likeliest pieces."""

from __future__ import annotations

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.pieces import LIKELIEST, open_pieces
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary

DEFAULT_ROLES = {"pad_token": 0, "eos_token": 1, "unk_token": 2}


def open_backend(vocabulary: GgufVocabulary) -> Backend:
    """The vocabulary with a space before each text, unless the file says otherwise."""
    return open_pieces(vocabulary, LIKELIEST, adds_bos=False, adds_eos=True)

"""Byte-level vocabularies: text is cut into words, and in each pairs of bytes merge into tokens."""

from __future__ import annotations

from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.byte_pairs import backend_of, byte_pair_model
from ftllm_nb.tokenizer.gguf.pre_tokenizers import pre_tokenizer_of
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary

DEFAULT_ROLES: dict[str, int] = {}


def open_backend(vocabulary: GgufVocabulary) -> Backend:
    """The vocabulary behind its family's pre-tokenizer."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    metadata = vocabulary.metadata
    way = pre_tokenizer_of(
        metadata.text("tokenizer.ggml.pre"), metadata.text("general.architecture") or "", vocabulary.where
    )
    library = byte_pair_model(vocabulary, ignore_merges=way.whole_words)
    if way.nfc:
        library.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in way.patterns]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes])
    library.decoder = decoders.ByteLevel()
    return backend_of(library, vocabulary, way.adds_bos)

"""Kinds of vocabularies in GGUF files: a module has the name that `tokenizer.ggml.model` gives its kind.

It offers `DEFAULT_ROLES`, the ids of tokens by role that hold where a file names none,
`open_backend(vocabulary) -> Backend`, and for files that are written `entries(vocabulary)`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, Protocol, cast

from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.metadata import Metadata
from ftllm_nb.tokenizer.gguf.outgoing import OutgoingVocabulary
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary


class VocabularyKind(Protocol):
    """What a module of this package offers."""

    DEFAULT_ROLES: dict[str, int]

    def open_backend(self, vocabulary: GgufVocabulary) -> Backend:
        """TokenizerError where the vocabulary is damaged."""
        ...

    def entries(self, vocabulary: OutgoingVocabulary) -> dict[str, Any] | None:
        """What a file's metadata has of a vocabulary of this kind beside its tokens, None for one of another kind."""
        ...


def vocabulary_kind(metadata: Metadata) -> VocabularyKind:
    """The kind of the file's vocabulary; TokenizerError where it names none that is known."""
    key = "tokenizer.ggml.model"
    name = metadata.text(key)
    known = vocabulary_kinds()
    if name is None:
        raise metadata.error(key, "is missing: the file has no tokenizer, so give a folder with one as --tokenizer DIR")
    if name not in known:
        raise metadata.error(
            key,
            f"is {shorten(name)}, and {', '.join(known)} are known: give a folder with the model's tokenizer.json as "
            "--tokenizer DIR",
        )
    return named_kind(name)


def vocabulary_kinds() -> list[str]:
    """The names of all kinds; nothing is imported."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def named_kind(name: str) -> VocabularyKind:
    """The kind of that name."""
    return cast(VocabularyKind, importlib.import_module(f"{__name__}.{name}"))

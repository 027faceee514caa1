"""Kinds of vocabularies in GGUF files: a module has the name that `tokenizer.ggml.model` gives its kind.

It offers `DEFAULT_ROLES`, the ids of tokens by role that hold where a file names none, and
`open_backend(vocabulary) -> Backend`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.backend import Backend
from ftllm_nb.tokenizer.gguf.metadata import Metadata
from ftllm_nb.tokenizer.gguf.vocabulary import GgufVocabulary


class VocabularyKind(Protocol):
    """What a module of this package offers."""

    DEFAULT_ROLES: dict[str, int]

    def open_backend(self, vocabulary: GgufVocabulary) -> Backend:
        """TokenizerError where the vocabulary is damaged."""
        ...


def vocabulary_kind(metadata: Metadata) -> VocabularyKind:
    """The kind of the file's vocabulary; TokenizerError where it names none that is known."""
    key = "tokenizer.ggml.model"
    name = metadata.text(key)
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name is None:
        raise metadata.error(key, "is missing: the file has no tokenizer, so give a folder with one as --tokenizer DIR")
    if name not in known:
        raise metadata.error(
            key,
            f"is {shorten(name)}, and {', '.join(known)} are known: give a folder with the model's tokenizer.json as "
            "--tokenizer DIR",
        )
    return cast(VocabularyKind, importlib.import_module(f"{__name__}.{name}"))

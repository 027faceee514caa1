"""From a GGUF file's metadata to the Tokenizer that the rest of ftllm-nb sees."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from ftllm_nb.tokenizer.chat_template import given_chat_template
from ftllm_nb.tokenizer.gguf.metadata import Metadata
from ftllm_nb.tokenizer.gguf.models import vocabulary_kind
from ftllm_nb.tokenizer.gguf.templates import gguf_chat_templates
from ftllm_nb.tokenizer.gguf.vocabulary import read_vocabulary
from ftllm_nb.tokenizer.prompt_pieces import PromptPieces
from ftllm_nb.tokenizer.tokenizer import Tokenizer


def load_gguf_tokenizer(
    metadata: Mapping[str, Any],
    where: str,
    config: dict[str, Any] | None = None,
    generation_config: dict[str, Any] | None = None,
    *,
    embedding_rows: int | None = None,
    chat_template: str | PathLike[str] | None = None,
) -> Tokenizer:
    """The tokenizer in the metadata of the GGUF file `where`: numbers, strings, arrays of numbers, lists of strings.

    The configs are the model's, where it has some. `embedding_rows`: how many tokens the model has.
    `chat_template`: a template, or the path of a file that holds one, in place of the file's. TokenizerError where the
    metadata holds no tokenizer, one that is not known, or one that is damaged.
    """
    values = Metadata(metadata, where)
    kind = vocabulary_kind(values)
    vocabulary = read_vocabulary(values, kind.DEFAULT_ROLES, embedding_rows)
    templates = gguf_chat_templates(values)
    if chat_template is not None:
        templates = {"default": given_chat_template(chat_template)}
    return Tokenizer(
        kind.open_backend(vocabulary),
        templates,
        PromptPieces.from_config(config or {}),
        {"eos_token_id": sorted(vocabulary.end_ids)},
        generation_config or {},
    )

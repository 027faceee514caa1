"""Which tokenizer a model gets: from a folder that the caller names, from files beside a GGUF file, or its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.added_tokens import shorten
from ftllm_nb.tokenizer.chat_template import ChatTemplate, find_chat_templates
from ftllm_nb.tokenizer.load import load_tokenizer
from ftllm_nb.tokenizer.settings import read_json_object
from ftllm_nb.tokenizer.tokenizer import Tokenizer

_BESIDE = "tokenizer.json"
_SAMPLES = 500
"""How many tokens are compared to tell whether a tokenizer.json is that of the GGUF file beside it."""
_ALIKE = 0.9
"""The share of them that is equal where it is: fillers and some added tokens are spelled otherwise."""


def choose_tokenizer(
    path: Path,
    tokenizer_config: dict[str, Any],
    config: dict[str, Any],
    generation_config: dict[str, Any],
    *,
    metadata: Mapping[str, Any] | None = None,
    given: str | PathLike[str] | None = None,
    chat_template: str | PathLike[str] | None = None,
    embedding_rows: int | None = None,
    warn: Callable[[str], None],
) -> Tokenizer:
    """The tokenizer of the model at `path`, a folder or, with `metadata`, a GGUF file that has it there.

    The configs are the model's, {} where it has none. `given`: a folder whose tokenizer is taken instead, and its chat
    templates if there are any. `chat_template`: as `load_tokenizer` takes it. `warn` is called with each sentence that
    the user should know. TokenizerError where there is no tokenizer, it is damaged, or it has more tokens than the
    `embedding_rows`.
    """
    own: Callable[[], Tokenizer]
    if metadata is None:
        own = partial(load_tokenizer, path, tokenizer_config, config, generation_config, chat_template=chat_template)
    else:
        from ftllm_nb.tokenizer.gguf import load_gguf_tokenizer

        own = partial(
            load_gguf_tokenizer,
            metadata,
            str(path),
            config,
            generation_config,
            embedding_rows=embedding_rows,
            chat_template=chat_template,
        )

    def of_folder(folder: Path) -> Tokenizer:
        return load_tokenizer(
            folder,
            read_json_object(folder / "tokenizer_config.json"),
            config,
            generation_config,
            chat_template=chat_template,
            default_templates=_own_templates(path, tokenizer_config, metadata),
        )

    if given is not None:
        folder = _named_folder(given)
        tokenizer = of_folder(folder)
        if embedding_rows is not None and tokenizer.vocab_size > embedding_rows:
            raise TokenizerError(
                f"the tokenizer of {folder} has {tokenizer.vocab_size} tokens, and the model's embedding "
                f"{embedding_rows} rows: they do not belong together."
            )
        return tokenizer
    beside = path.parent / _BESIDE
    if metadata is None or not beside.is_file():
        return own()
    tokenizer = of_folder(path.parent)
    if _is_of_file(tokenizer, metadata):
        return tokenizer
    warn(f"{beside} holds other tokens than {path.name}, whose own tokenizer is used.")
    return own()


def _named_folder(given: object) -> Path:
    if not isinstance(given, (str, PathLike)) or not fspath(given):
        raise TokenizerError(f"the tokenizer must be a folder's path, not {shorten(given)}: leave it out.")
    return Path(given).expanduser()


def _own_templates(
    path: Path, tokenizer_config: dict[str, Any], metadata: Mapping[str, Any] | None
) -> dict[str, ChatTemplate]:
    """The model's chat templates, {} where it has none."""
    if metadata is None:
        return find_chat_templates(path, tokenizer_config)
    from ftllm_nb.tokenizer.gguf.metadata import Metadata
    from ftllm_nb.tokenizer.gguf.templates import gguf_chat_templates

    return gguf_chat_templates(Metadata(metadata, str(path)))


def _is_of_file(tokenizer: Tokenizer, metadata: Mapping[str, Any]) -> bool:
    """Whether a tokenizer has the tokens that a GGUF file lists, which is seen at some of them."""
    listed = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(listed, list) or not listed:
        return True
    sample = range(0, len(listed), max(1, len(listed) // _SAMPLES))
    alike = [at for at in sample if listed[at] == tokenizer.id_to_token(at)]
    return len(alike) >= _ALIKE * len(sample)

"""The tokenizer of a model folder, in whichever format its files are."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from ftllm_nb.errors import TokenizerError
from ftllm_nb.tokenizer.chat_template import ChatTemplate, find_chat_templates, given_chat_template
from ftllm_nb.tokenizer.formats import tokenizer_formats
from ftllm_nb.tokenizer.prompt_pieces import PromptPieces
from ftllm_nb.tokenizer.settings import read_settings
from ftllm_nb.tokenizer.tokenizer import Tokenizer


def load_tokenizer(
    path: str | Path,
    tokenizer_config: dict[str, Any],
    config: dict[str, Any],
    generation_config: dict[str, Any] | None = None,
    prompt_pieces: PromptPieces | None = None,
    *,
    chat_template: str | PathLike[str] | None = None,
    default_templates: dict[str, ChatTemplate] | None = None,
) -> Tokenizer:
    """The tokenizer of the model folder `path`.

    The configs are the folder's parsed files, {} where absent; `prompt_pieces` serve where it has no chat
    template (by default those that `config` names). `chat_template`: a template, or the path of a file that holds
    one, in place of the folder's; `default_templates` hold where it has none. TokenizerError where there are no
    tokenizer files or they are damaged.
    """
    folder = Path(path)
    settings = read_settings(folder, tokenizer_config, config)
    formats = tokenizer_formats()
    for tokenizer_format in formats:
        file = folder / tokenizer_format.FILE_NAME
        if file.is_file():
            backend = tokenizer_format.open_backend(file, settings)
            break
    else:
        raise TokenizerError(_no_files_sentence(folder, [one.FILE_NAME for one in formats]))
    pieces = prompt_pieces if prompt_pieces is not None else PromptPieces.from_config(config)
    templates = find_chat_templates(folder, tokenizer_config) or default_templates or {}
    if chat_template is not None:
        templates = {"default": given_chat_template(chat_template)}
    tokenizer = Tokenizer(backend, templates, pieces, config, generation_config or {})
    _ = tokenizer.eos_token_ids  # what is wrong with them is said before weights are read
    return tokenizer


def _no_files_sentence(folder: Path, names: list[str]) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder; a tokenizer is read from a model folder."
    looked_for = " and ".join(names)
    hint = "copy the model's tokenizer files there"
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        hint = (
            "it holds vocab.json and merges.txt: write a tokenizer.json with "
            "`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` of transformers"
        )
    return f"{folder} has no tokenizer: looked for {looked_for}; {hint}."

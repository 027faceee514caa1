"""The tokenizer in a GGUF file's metadata as the files of a Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ftllm_nb.tokenizer.formats.sentencepiece_model import SentencePieceBackend
from ftllm_nb.tokenizer.formats.tokenizer_json import TokenizerJsonBackend
from ftllm_nb.tokenizer.gguf.load import load_gguf_tokenizer


def tokenizer_files(metadata: Mapping[str, Any], where: str) -> tuple[dict[str, bytes], list[int]]:
    """The files by name, and the tokens at which answers end. `TokenizerError` where there is no tokenizer."""
    tokenizer = load_gguf_tokenizer(metadata, where)
    backend = tokenizer.backend
    config: dict[str, Any] = dict(backend.named_tokens)
    files: dict[str, bytes] = {}
    if isinstance(backend, TokenizerJsonBackend):
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        files["tokenizer.json"] = _json(backend.state)
    elif isinstance(backend, SentencePieceBackend):
        before, after = backend.surrounding_tokens()
        config |= {
            "tokenizer_class": "LlamaTokenizer", "legacy": True, "add_prefix_space": backend.adds_space,
            "add_bos_token": bool(before), "add_eos_token": bool(after),
            "added_tokens_decoder": {str(at): asdict(token) for at, token in sorted(backend.added_tokens.items())},
        }  # fmt: skip
        files["tokenizer.model"] = backend.model
    templates = {name: template.source for name, template in tokenizer.templates.items()}
    if list(templates) == ["default"]:
        config["chat_template"] = templates["default"]
    elif templates:
        config["chat_template"] = [{"name": name, "template": source} for name, source in templates.items()]
    files["tokenizer_config.json"] = _json(config)
    return files, sorted(tokenizer.eos_token_ids)


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()

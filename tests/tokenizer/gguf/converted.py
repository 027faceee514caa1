"""Metadata as llama.cpp's converter makes it from folders in Hugging Face's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece


def of_tokenizer_json(folder: Path, pre: str) -> dict[str, Any]:
    """What stands for the folder's tokenizer.json with byte-level merges."""
    described = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    ids = {**described["model"]["vocab"], **{token["content"]: token["id"] for token in described["added_tokens"]}}
    kinds = dict.fromkeys(ids.values(), 1)
    kinds.update({token["id"]: 3 if token["special"] else 4 for token in described["added_tokens"]})
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in described["model"]["merges"]]
    metadata = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": sorted(ids, key=ids.__getitem__),
        "tokenizer.ggml.token_type": np.array([kinds[token_id] for token_id in sorted(kinds)], np.int32),
        "tokenizer.ggml.merges": merges,
        "tokenizer.chat_template": config["chat_template"],
    }
    for role in ("bos", "eos"):
        if config.get(f"{role}_token") is not None:
            metadata[f"tokenizer.ggml.{role}_token_id"] = ids[config[f"{role}_token"]]
    return metadata


def of_sentencepiece(model: bytes, kind: str = "llama", **keys: Any) -> dict[str, Any]:
    """What stands for a tokenizer.model; `keys` are further ones below tokenizer.ggml."""
    library = sentencepiece.SentencePieceProcessor(model_proto=model)
    ids = range(library.GetPieceSize())
    # As in the converter, the library does not tell which pieces are user-defined.
    asked = ((2, library.IsUnknown), (3, library.IsControl), (5, library.IsUnused), (6, library.IsByte))
    kinds = [next((kind for kind, is_kind in asked if is_kind(at)), 1) for at in ids]
    return {
        "general.architecture": "llama",
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [library.IdToPiece(at) for at in ids],
        "tokenizer.ggml.scores": np.array([library.GetScore(at) for at in ids], np.float32),
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.bos_token_id": library.bos_id(),
        "tokenizer.ggml.eos_token_id": library.eos_id(),
        "tokenizer.ggml.unknown_token_id": library.unk_id(),
        **{f"tokenizer.ggml.{key}": value for key, value in keys.items()},
    }

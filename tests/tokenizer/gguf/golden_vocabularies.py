"""Vocabularies of real models, cut down to what some texts need, with the ids that the models' own tokenizers give."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "golden"
NAMES = sorted(file.name.removesuffix(".json.gz") for file in FOLDER.glob("*.json.gz"))


def golden(name: str) -> tuple[dict[str, Any], list[tuple[str, list[int]]]]:
    """The metadata of the vocabulary `name`, and texts with their ids."""
    found = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    metadata = found["metadata"]
    for key in ("token_type", "scores"):
        if f"tokenizer.ggml.{key}" in metadata:
            metadata[f"tokenizer.ggml.{key}"] = np.array(metadata[f"tokenizer.ggml.{key}"])
    return metadata, [(text, ids) for text, ids in found["cases"]]

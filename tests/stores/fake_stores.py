"""Stores of other tools as they lie on a disk, with models of a few kilobytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.checkpoint.gguf.tiny_models import VOCABULARY, as_tensors, matrices, metadata
from tests.gguf_files import Typed, gguf_bytes

KIND = "application/vnd.ollama.image."
CONTROL, NORMAL = 3, 1
END, TURN = "<|end|>", "<|turn|>"


def model_bytes() -> bytes:
    """A GGUF file with a tokenizer of single letters and two tokens of control, 0 and 1."""
    letters = [chr(ord("!") + number) for number in range(VOCABULARY - 2)]
    entries = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [END, TURN, *letters],
        "tokenizer.ggml.token_type": Typed("i32[]", [CONTROL] * 2 + [NORMAL] * len(letters)),
        "tokenizer.ggml.merges": Typed("str[]", []),
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}",
    }
    return gguf_bytes({**metadata("llama"), **entries}, as_tensors(matrices()))


def ollama_model(root: Path, name: str, layers: dict[str, bytes | dict[str, Any] | None]) -> Path:
    """Write a manifest, by its path below manifests/, and its blobs; None is a blob that is missing. The manifest."""
    listed = []
    for number, (kind, content) in enumerate(layers.items()):
        raw = json.dumps(content).encode() if isinstance(content, dict) else content or b"missing"
        digest = hashlib.sha256(raw + bytes([number])).hexdigest()
        if content is not None:
            (root / "blobs").mkdir(parents=True, exist_ok=True)
            (root / "blobs" / f"sha256-{digest}").write_bytes(raw)
        listed.append({"mediaType": KIND + kind.rstrip("0123456789"), "digest": f"sha256:{digest}", "size": len(raw)})
    manifest = root / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": {}, "layers": listed}))
    return manifest


def files(folder: Path, *names: str, content: bytes = b"GGUF") -> None:
    """Write files of one content into a folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

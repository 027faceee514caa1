"""What hostile checkpoints are made of: a good folder, ways to spoil one place of it, their register."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 4,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "vocab_size": 8,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 32,
}
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5000000000\n"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Hostile:
    """A broken model folder.

    `build`: empty folder → path of the model. `file`: the file that the complaint must name, relative to that
    path ("." is the path itself). `says`: a word or two that the complaint must hold.
    """

    build: Callable[[Path], Path]
    file: str
    says: str


HOSTILE: dict[str, Hostile] = {}


def hostile(file: str, says: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Put a builder into `HOSTILE` under its function's name."""

    def register(build: Callable[[Path], Path]) -> Callable[[Path], Path]:
        HOSTILE[build.__name__] = Hostile(build, file, says)
        return build

    return register


def safetensors_bytes(header: Any, data: bytes, header_size: int | None = None) -> bytes:
    """A safetensors file of any header (JSON, or bytes as they are) and any claim of the header's length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if header_size is None else header_size).to_bytes(8, "little") + text + data


def entry(shape: Any, begin: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    """A tensor in a safetensors header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def good_folder(root: Path) -> Path:
    """A folder in which nothing is wrong: two tensors, "a" [2, 4] and "b" [4], float32, 0 to 11."""
    folder = root / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / WEIGHTS).write_bytes(good_weights())
    return folder


def good_weights() -> bytes:
    """The weights of `good_folder`."""
    header = {"a": entry([2, 4], 0, 32), "b": entry([4], 32, 48)}
    data = b"".join(bytes.fromhex(value) for value in (
        "00000000", "0000803f", "00000040", "00004040", "00008040", "0000a040",
        "0000c040", "0000e040", "00000041", "00001041", "00002041", "00003041",
    ))  # fmt: skip
    return safetensors_bytes(header, data)


def with_weights(root: Path, content: bytes) -> Path:
    """A good folder but for the content of its weights."""
    folder = good_folder(root)
    (folder / WEIGHTS).write_bytes(content)
    return folder


def with_config(root: Path, content: bytes) -> Path:
    """A good folder but for the content of config.json."""
    folder = good_folder(root)
    (folder / "config.json").write_bytes(content)
    return folder


def with_index(root: Path, content: Any) -> Path:
    """A good folder, but its weights are one.safetensors under an index of this content (JSON or bytes)."""
    folder = good_folder(root)
    (folder / WEIGHTS).rename(folder / "one.safetensors")
    (folder / INDEX).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder

"""Tiny models in GGUF, with numbers that tell where each came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.gguf.checkpoint import GgufCheckpoint, open_gguf
from tests.gguf_files import Tensor, floats, gguf_bytes

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, LAYERS = 32, 64, 4, 2, 8, 64, 2


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Seeded normal numbers."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape, np.float32)


def metadata(architecture: str, **entries: Any) -> dict[str, Any]:
    """What each model has; `entries` below the architecture's name, "__" for a dot, None to leave one out."""
    found: dict[str, Any] = {
        "block_count": LAYERS, "context_length": 128, "embedding_length": HIDDEN, "feed_forward_length": INNER,
        "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 500.0,
    }  # fmt: skip
    found |= {name.replace("__", "."): value for name, value in entries.items()}
    own = {f"{architecture}.{name}": value for name, value in found.items() if value is not None}
    return {"general.architecture": architecture, **own}


def matrices(
    heads: int = HEADS, kv_heads: int = KV_HEADS, hidden: int = HIDDEN
) -> dict[str, NDArray[np.float32]]:
    """Llama's tensors by llama.cpp's names, the same numbers in each layer of a name and shape."""
    found = {"token_embd": numbers(VOCABULARY, hidden), "output_norm": numbers(hidden)}
    shapes = {
        "attn_norm": (hidden,), "attn_q": (heads * HEAD_DIM, hidden), "attn_k": (kv_heads * HEAD_DIM, hidden),
        "attn_v": (kv_heads * HEAD_DIM, hidden), "attn_output": (hidden, heads * HEAD_DIM), "ffn_norm": (hidden,),
        "ffn_gate": (INNER, hidden), "ffn_up": (INNER, hidden), "ffn_down": (hidden, INNER),
    }  # fmt: skip
    for layer in range(LAYERS):
        for seed, (name, shape) in enumerate(shapes.items()):
            found[f"blk.{layer}.{name}"] = numbers(*shape, seed=10 * layer + seed) / np.float32(shape[-1] ** 0.5)
    return found


def as_tensors(arrays: dict[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """Tensors of float32, their names with .weight where they have no ending."""
    return {name if name.endswith((".weight", ".bias")) else f"{name}.weight": floats(each)
            for name, each in arrays.items()}  # fmt: skip


def write(folder: Path, entries: dict[str, Any], tensors: dict[str, Tensor], name: str = "model.gguf") -> Path:
    """A file."""
    path = folder / name
    path.write_bytes(gguf_bytes(entries, tensors))
    return path


def opened(folder: Path, entries: dict[str, Any], tensors: dict[str, Tensor]) -> GgufCheckpoint:
    """The file, open."""
    return open_gguf(write(folder, entries, tensors))

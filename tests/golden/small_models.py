"""Small random qwen2 and llama checkpoints whose weights every machine generates alike.

Only transformers' logits for them are stored (`logits.npz`, made by make_golden.py): the weights come from
the raw stream of a seeded PCG64, which NumPy promises not to change, and from operations that are exact in
float32.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COMMON: dict[str, Any] = {
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _qwen2(**changes: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 48, "intermediate_size": 112, "num_attention_heads": 6, "num_key_value_heads": 2}
    architecture = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 131}
    return {**_COMMON, **architecture, **sizes, **changes}


def _llama(**changes: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 4}
    architecture = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 128}
    return {**_COMMON, **architecture, **sizes, **changes}


SMALL_MODELS: dict[str, dict[str, Any]] = {
    "qwen2_gqa": _qwen2(rope_theta=1e6),
    "qwen2_tied": _qwen2(
        tie_word_embeddings=True, hidden_size=64, num_attention_heads=4, num_key_value_heads=4
    ),
    # No size is a multiple of 16, of a vector or of four.
    "qwen2_odd_sizes": _qwen2(
        hidden_size=42, intermediate_size=75, num_attention_heads=3, num_key_value_heads=1, vocab_size=101
    ),
    "qwen2_one_layer_one_head": _qwen2(
        hidden_size=20,
        intermediate_size=36,
        num_attention_heads=1,
        num_key_value_heads=1,
        num_hidden_layers=1,
    ),
    "llama_mha": _llama(),
    "llama_tied": _llama(tie_word_embeddings=True, num_key_value_heads=1),
    "llama_head_dim": _llama(hidden_size=40, head_dim=16, num_key_value_heads=2),
    "llama_biases": _llama(attention_bias=True, mlp_bias=True, num_key_value_heads=2),
    "llama_rope_llama3": _llama(
        rope_theta=500000.0,
        head_dim=32,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 24,
        },
    ),
    "llama_rope_linear": _llama(rope_scaling={"type": "linear", "factor": 4.0}),
    # The original context is 24 positions, so that the prompts go beyond it.
    "llama_rope_dynamic": _llama(
        max_position_embeddings=24, max_positions=128, rope_scaling={"type": "dynamic", "factor": 2.0}
    ),
    "llama_rope_yarn": _llama(
        rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, rope_theta=500000.0
    ),
    # Within the original context, so that transformers, too, keeps to one list.
    "llama_rope_longrope": _llama(
        rope_scaling={
            "rope_type": "longrope",
            "factor": 4.0,
            "original_max_position_embeddings": 128,
            "short_factor": [1 + j / 4 for j in range(8)],
            "long_factor": [1.0 + 4 * j for j in range(8)],
        }
    ),
    # The form in which recent versions of transformers write the same facts.
    "llama_rope_parameters": {
        key: value
        for key, value in _llama(
            rope_parameters={"rope_type": "linear", "rope_theta": 5e4, "factor": 2.0}
        ).items()
        if key != "rope_theta"
    },
}

STORED_TYPES = ("float32", "bfloat16", "float16")

PAIRS = {**SMALL_MODELS["qwen2_gqa"], "num_key_value_heads": 3}
"""Two queries to a key, as the demo model has. Attention is compiled for each number of them and type of the cache, and
quick tests need no other number where the cache is not of float32."""


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a qwen2 or llama checkpoint of this configuration holds."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    qwen2 = config["model_type"] == "qwen2"
    attention_bias = qwen2 or config.get("attention_bias", False)
    linears = {
        "self_attn.q_proj": (queries, hidden, attention_bias),
        "self_attn.k_proj": (keys, hidden, attention_bias),
        "self_attn.v_proj": (keys, hidden, attention_bias),
        "self_attn.o_proj": (hidden, queries, attention_bias and not qwen2),
        "mlp.gate_proj": (intermediate, hidden, config.get("mlp_bias", False)),
        "mlp.up_proj": (intermediate, hidden, config.get("mlp_bias", False)),
        "mlp.down_proj": (hidden, intermediate, config.get("mlp_bias", False)),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, (outputs, inputs, bias) in linears.items():
            shapes[prefix + name + ".weight"] = (outputs, inputs)
            if bias:
                shapes[prefix + name + ".bias"] = (outputs,)
        shapes[prefix + "input_layernorm.weight"] = (hidden,)
        shapes[prefix + "post_attention_layernorm.weight"] = (hidden,)
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    return shapes


def uniform(seed: str, count: int) -> NDArray[np.float32]:
    """`count` numbers in [−1, 1), float32, alike on every machine and with every version of NumPy."""
    raw = np.random.PCG64(zlib.crc32(seed.encode())).random_raw(count)
    return ((raw >> np.uint64(40)).astype(np.float32) - np.float32(2**23)) / np.float32(2**23)


def tensor(model: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """One tensor of a small model, float32, scaled so that logits differ by several units."""
    values = uniform(f"{model} {name}", int(np.prod(shape))).reshape(shape)
    if name.endswith("norm.weight"):
        return np.float32(1.0) + np.float32(0.25) * values
    if name.endswith(".bias"):
        return np.float32(0.5) * values
    # A power of two keeps the scaling exact.
    return values * np.float32(2.0 ** round(np.log2(2.0 / np.sqrt(shape[-1]))))


def to_stored_type(values: NDArray[np.float32], stored_type: str) -> NDArray[Any]:
    """float32 values as the array to store: bfloat16 as its bits in uint16, rounded to nearest even."""
    if stored_type == "bfloat16":
        bits = values.view(np.uint32)
        return (
            (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        ).astype(np.uint16)
    return values.astype(stored_type)


def write_checkpoint(
    folder: Path,
    model: str,
    config: dict[str, Any],
    stored_type: str = "float32",
    factors: Mapping[str, float] | None = None,
) -> Path:
    """Write `config.json` and `model.safetensors`; `model` seeds the weights. Returns the folder.

    `factors`: what the tensors of some names are multiplied by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, "torch_dtype": stored_type}, indent=2))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    payload = bytearray()
    code = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[stored_type]
    for name, shape in tensor_shapes(config).items():
        values = tensor(model, name, shape) * np.float32((factors or {}).get(name, 1))
        data = to_stored_type(values, stored_type).tobytes()
        header[name] = {
            "dtype": code,
            "shape": list(shape),
            "data_offsets": [len(payload), len(payload) + len(data)],
        }
        payload += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + payload)
    return folder


def prompt(model: str, length: int, vocab_size: int) -> NDArray[np.int32]:
    """Token ids for a model, int32 [length]."""
    return ((uniform(f"{model} prompt", length) + 1) / 2 * vocab_size).astype(np.int32)

"""What the writers of all families share: what llama.cpp's converter writes of every model, and orders of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Iterator[tuple[str, Array]]


class Kind(NamedTuple):
    """`settings` writes what there is beside the common entries; `tensors` gives what becomes of a tensor, by
    Hugging Face's or llama.cpp's name; `extra` tensors that are none of the model's."""

    arch: MODEL_ARCH
    settings: Callable[[GGUFWriter, dict[str, Any]], None] = lambda writer, config: None
    tensors: Callable[[str, Array, dict[str, Any]], Tensors] = lambda name, values, config: iter([(name, values)])
    extra: Callable[[dict[str, Any]], Tensors] = lambda config: iter(())
    common: bool = True


def layers_of(config: dict[str, Any]) -> int:
    return int(config.get("num_hidden_layers") or config["n_layer"])


def head_dim(config: dict[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def rope_of(config: dict[str, Any]) -> dict[str, Any]:
    """The rotation of layers that see everything."""
    rope = config.get("rope_parameters") or {}
    found: dict[str, Any] = rope.get("full_attention", rope)
    return found


def write_common(writer: GGUFWriter, config: dict[str, Any]) -> None:
    """What llama.cpp's converter writes of every model, where config.json has it."""
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    if isinstance(config["intermediate_size"], int):
        writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    if config.get("num_key_value_heads"):
        writer.add_head_count_kv(config["num_key_value_heads"])
    rope = rope_of(config)
    kind = rope.get("rope_type")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for name in ("beta_fast", "beta_slow"):
            if name in rope:
                getattr(writer, f"add_rope_scaling_yarn_{name}")(rope[name])
        if rope.get("attention_factor") is not None:
            writer.add_rope_scaling_yarn_attn_factor(rope["attention_factor"])
    if kind == "longrope":
        writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
    if "rope_theta" in rope:
        writer.add_rope_freq_base(rope["rope_theta"])
    sliding = (config.get("rope_parameters") or {}).get("sliding_attention", {})
    if "rope_theta" in sliding:
        writer.add_rope_freq_base_swa(sliding["rope_theta"])
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    for name in ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"):
        if name in config:
            writer.add_layer_norm_eps(config[name])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])


def slides(config: dict[str, Any]) -> list[bool]:
    return [kind == "sliding_attention" for kind in config["layer_types"]]


def permuted(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Rows of q and k so that neighbours turn."""
    heads = 0
    if ".q_proj." in name:
        heads = config["num_attention_heads"]
    elif ".k_proj." in name:
        heads = config["num_key_value_heads"]
    if heads:
        parts = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
        values = parts.swapaxes(1, 2).reshape(values.shape)
    yield name, values


def plus_one(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Norms with what their models add."""
    yield name, values + np.float32(1) if name.endswith("norm.weight") else values


def llama_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(head_dim(config))


def part_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    part = rope_of(config).get("partial_rotary_factor", 1.0)
    writer.add_rope_dimension_count(int(head_dim(config) * part))


def window_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    if config.get("sliding_window") is not None:
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern(slides(config))


def long_factors(config: dict[str, Any]) -> Tensors:
    rope = rope_of(config)
    if rope.get("rope_type") == "longrope":
        yield "rope_factors_long.weight", np.array(rope["long_factor"])
        yield "rope_factors_short.weight", np.array(rope["short_factor"])

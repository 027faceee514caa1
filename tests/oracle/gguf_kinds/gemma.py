"""Gemma, from the first to the fourth."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter

from tests.oracle.gguf_kinds.common import Array, Kind, Tensors, plus_one, rope_of, slides


def gemma2_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    writer.add_sliding_window(config["sliding_window"])


def gemma3_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    writer.add_sliding_window(config["sliding_window"])


def gemma3n_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    gemma3_settings(writer, config)
    writer.add_altup_active_idx(config["altup_active_idx"])
    writer.add_altup_num_inputs(config["altup_num_inputs"])
    writer.add_embedding_length_per_layer_input(config["hidden_size_per_layer_input"])
    writer.add_shared_kv_layers(config["num_kv_shared_layers"])
    cuts = [NormalDist().inv_cdf(part) if part else -math.inf for part in config["activation_sparsity_pattern"]]
    writer.add_activation_sparsity_scale(cuts)
    writer.add_sliding_window_pattern(slides(config))
    if isinstance(config["intermediate_size"], list):
        writer.add_feed_forward_length(config["intermediate_size"])


def gemma3n_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Projections of streams as one stack, when the first comes by."""
    stack = next((each for each in ("altup_unembed_projections", "altup_projections") if f".{each}." in name), None)
    if stack is None:
        yield f"{name}.weight" if name.endswith("_scale") else name, values
    elif name.endswith(".0.weight"):
        stem = name.removesuffix(".0.weight")
        count = config["altup_num_inputs"] - 1
        matrices = [config["tensors"][f"{stem}.{number}.weight"] for number in range(count)]
        yield f"{stem}.weight", np.stack(matrices).astype(np.float32)


def full_layer(config: dict[str, Any]) -> dict[str, int]:
    """The sizes of the last layer, which sees everything."""
    own = config["per_layer_config"].get(str(config["num_hidden_layers"] - 1), {})
    return {name: own.get(name, config[name]) for name in ("head_dim", "num_key_value_heads")}


def gemma4_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    kinds = slides(config)
    shared = config.get("num_kv_shared_layers") or 0
    writer.add_shared_kv_layers(shared)
    writer.add_embedding_length_per_layer_input(config.get("hidden_size_per_layer_input") or 0)
    writer.add_sliding_window(config["sliding_window"])
    writer.add_sliding_window_pattern(kinds)
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    full, sliding = full_layer(config)["head_dim"], config["head_dim"]
    writer.add_key_length(full)
    writer.add_value_length(full)
    writer.add_key_length_swa(sliding)
    writer.add_value_length_swa(sliding)
    if config.get("use_double_wide_mlp"):
        size, first = config["intermediate_size"], config["num_hidden_layers"] - shared
        writer.add_feed_forward_length([size if i < first else 2 * size for i in range(config["num_hidden_layers"])])
    if config.get("enable_moe_block"):
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["top_k_experts"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    heads = full_layer(config)["num_key_value_heads"]
    if heads != config["num_key_value_heads"]:
        writer.add_head_count_kv([config["num_key_value_heads"] if each else heads for each in kinds])
    writer.add_rope_dimension_count(full)
    writer.add_rope_dimension_count_swa(sliding)


def gemma4_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    layer = name.split(".")[2]
    own = {".router.scale": "ffn_gate_inp.scale", ".router.per_expert_scale": "ffn_down_exps.scale"}
    for ending, target in own.items():
        if name.endswith(ending):
            yield f"blk.{layer}.{target}", values
            return
    plain = ("layer_scalar", ".experts.gate_up_proj", ".experts.down_proj")
    yield f"{name}.weight" if name.endswith(plain) else name, values


def gemma4_factors(config: dict[str, Any]) -> Tensors:
    rope = rope_of(config)
    size = full_layer(config)["head_dim"]
    turning, angles = int(size * rope["partial_rotary_factor"] / 2), size // 2
    yield "rope_freqs.weight", np.array([1.0] * turning + [1e30] * (angles - turning))


KINDS = {
    "gemma": Kind(MODEL_ARCH.GEMMA, tensors=plus_one),
    "gemma2": Kind(MODEL_ARCH.GEMMA2, gemma2_settings, plus_one),
    "gemma3_text": Kind(MODEL_ARCH.GEMMA3, gemma3_settings, plus_one),
    "gemma3n_text": Kind(MODEL_ARCH.GEMMA3N, gemma3n_settings, gemma3n_tensors),
    "gemma4_text": Kind(MODEL_ARCH.GEMMA4, gemma4_settings, gemma4_tensors, gemma4_factors),
    "gemma4_unified_text": Kind(MODEL_ARCH.GEMMA4, gemma4_settings, gemma4_tensors, gemma4_factors),
}

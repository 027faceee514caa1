"""Llama and what differs from it by little."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType

from tests.oracle.gguf_kinds.common import (
    Kind,
    Tensors,
    head_dim,
    llama_settings,
    long_factors,
    part_settings,
    permuted,
    rope_of,
    window_settings,
)


def llama3_factors(config: dict[str, Any]) -> Tensors:
    rope = rope_of(config)
    if rope.get("rope_type") != "llama3":
        return
    size, original = head_dim(config), rope["original_max_position_embeddings"]
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, size, 2, dtype=np.float32) / size)
    low, high = (original / rope[name] for name in ("low_freq_factor", "high_freq_factor"))
    factors = []
    for length in 2 * math.pi / frequencies:
        if length < high:
            factors.append(1.0)
        elif length > low:
            factors.append(rope["factor"])
        else:
            least, most = rope["low_freq_factor"], rope["high_freq_factor"]
            smooth = (original / length - least) / (most - least)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    yield "rope_freqs.weight", np.array(factors)


def granite_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    llama_settings(writer, config)
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_logit_scale(config["logits_scaling"])


def phi3_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    rope = rope_of(config)
    original = rope.get("original_max_position_embeddings") or config["original_max_position_embeddings"]
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_dimension_count(int(rope.get("partial_rotary_factor", 1.0) * head_dim(config)))
    writer.add_sliding_window(config.get("sliding_window") or 0)
    if rope.get("rope_type") == "longrope":
        stretched = config["max_position_embeddings"] / original
        factor = math.sqrt(1 + math.log(stretched) / math.log(original)) if stretched > 1 else 1.0
        writer.add_rope_scaling_attn_factors(factor)


def mistral3_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    llama_settings(writer, config)
    rope = rope_of(config)
    writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
    writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])


def cohere2_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_logit_scale(config["logit_scale"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_scaling_type(RopeScalingType.NONE)


def hunyuan_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    rope = rope_of(config)
    if rope.get("rope_type") == "dynamic":
        size = config["head_dim"]
        writer.add_rope_scaling_type(RopeScalingType.NONE)
        writer.add_rope_scaling_factor(1)
        writer.add_rope_freq_base(rope["rope_theta"] * rope["alpha"] ** (size / (size - 2)))


KINDS = {
    "llama": Kind(MODEL_ARCH.LLAMA, llama_settings, permuted, llama3_factors),
    "mistral": Kind(MODEL_ARCH.LLAMA, llama_settings, permuted),
    "qwen2": Kind(MODEL_ARCH.QWEN2),
    "qwen3": Kind(MODEL_ARCH.QWEN3),
    "phi3": Kind(MODEL_ARCH.PHI3, phi3_settings, extra=long_factors),
    "granite": Kind(MODEL_ARCH.GRANITE, granite_settings, permuted),
    "smollm3": Kind(MODEL_ARCH.SMOLLM3, llama_settings, permuted),
    "olmo2": Kind(MODEL_ARCH.OLMO2),
    "olmo3": Kind(MODEL_ARCH.OLMO2, window_settings),
    "ministral3": Kind(MODEL_ARCH.MISTRAL3, mistral3_settings, permuted),
    "glm4": Kind(MODEL_ARCH.GLM4, part_settings),
    "cohere2": Kind(MODEL_ARCH.COHERE2, cohere2_settings),
    "ernie4_5": Kind(MODEL_ARCH.ERNIE4_5),
    "starcoder2": Kind(MODEL_ARCH.STARCODER2),
    "hunyuan_v1_dense": Kind(MODEL_ARCH.HUNYUAN_DENSE, hunyuan_settings),
    "exaone4": Kind(MODEL_ARCH.EXAONE4, window_settings, extra=llama3_factors),
    "seed_oss": Kind(MODEL_ARCH.SEED_OSS),
}

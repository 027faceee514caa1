"""GPT-2, GPT-NeoX, Phi-2 and StableLM."""

from __future__ import annotations

from typing import Any

import numpy as np
from gguf import MODEL_ARCH, GGUFWriter

from tests.oracle.gguf_kinds.common import Array, Kind, Tensors, part_settings


def stablelm_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    part_settings(writer, config)
    writer.add_parallel_residual(config["use_parallel_residual"])


def stablelm_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Norms of heads as one matrix, when the first comes by."""
    if "_layernorm.norms." not in name:
        yield name, values
    elif name.endswith(".norms.0.weight"):
        stem = name.removesuffix(".0.weight")
        count = config["num_attention_heads" if ".q_layernorm." in name else "num_key_value_heads"]
        rows = [config["tensors"][f"{stem}.{head}.weight"] for head in range(count)]
        yield f"{stem.removesuffix('.norms')}.weight", np.stack(rows).astype(np.float32)


def gpt2_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def gpt2_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    turned = name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight"))
    yield name, values.T if turned else values


def parallel_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    part_settings(writer, config)
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])


def gpt_neox_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    parallel_settings(writer, config)
    writer.add_parallel_residual(config["use_parallel_residual"])


def gpt_neox_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """All of q, then k, then v."""
    if ".query_key_value." in name:
        parts = values.reshape(config["num_attention_heads"], 3, -1, *values.shape[1:])
        values = parts.swapaxes(0, 1).reshape(values.shape)
    yield name, values


def phi_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    parallel_settings(writer, config)
    writer.add_head_count_kv(config["num_key_value_heads"])


KINDS = {
    "stablelm": Kind(MODEL_ARCH.STABLELM, stablelm_settings, stablelm_tensors),
    "gpt2": Kind(MODEL_ARCH.GPT2, gpt2_settings, gpt2_tensors, common=False),
    "phi": Kind(MODEL_ARCH.PHI2, phi_settings, common=False),
    "gpt_neox": Kind(MODEL_ARCH.GPTNEOX, gpt_neox_settings, gpt_neox_tensors, common=False),
}

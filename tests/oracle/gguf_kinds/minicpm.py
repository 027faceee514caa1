"""MiniCPM and MiniCPM 3."""

from __future__ import annotations

from typing import Any

from gguf import MODEL_ARCH, GGUFWriter

from tests.oracle.gguf_kinds.common import Kind, long_factors, permuted


def minicpm_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_embedding_scale(float(config["scale_emb"]))
    writer.add_residual_scale(config["scale_depth"] / config["num_hidden_layers"] ** 0.5)
    writer.add_logit_scale(config["hidden_size"] / config["dim_model_base"])


def minicpm3_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_kv_lora_rank(config["kv_lora_rank"])
    writer.add_key_length(config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
    writer.add_rope_dimension_count(config["qk_rope_head_dim"])


KINDS = {
    "minicpm": Kind(MODEL_ARCH.MINICPM, minicpm_settings, permuted, long_factors),
    "minicpm3": Kind(MODEL_ARCH.MINICPM3, minicpm3_settings, extra=long_factors, common=False),
}

"""Small configurations of models that see or hear, whose text part alone is computed."""

from __future__ import annotations

from typing import Any

from tests.oracle.config_parts import DELTA, DENSE, EDGE, EXPERTS, FULL, PLAIN, SLIDING, YARN

EYES: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
"""A vision_config that is as small as it can be."""

MUSE: dict[str, Any] = {"out_hidden_size": 64, "projector_hidden_size": 16}

QWEN_EYES = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 48}

TEXT_PARTS: dict[str, list[dict[str, Any]]] = {
    "qwen3_5": [{"text_config": DELTA, "vision_config": QWEN_EYES}],
    "qwen3_5_moe": [
        {"text_config": EXPERTS | DELTA | {"shared_expert_intermediate_size": 24}, "vision_config": QWEN_EYES},
    ],
    "gemma3": [
        {"text_config": {"sliding_window": 12}, "vision_config": EYES, "mm_tokens_per_image": 4},
        {"text_config": {"sliding_window": 5, "num_hidden_layers": 7, "query_pre_attn_scalar": 10, "rope_parameters": {
            FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, SLIDING: PLAIN}},
         "vision_config": EYES, "mm_tokens_per_image": 4},
    ],
    "gemma3n": [],  # transformers makes none without timm; tests/models/test_text_parts.py has its names
    "gemma4": [
        {"text_config": {**EDGE, "sliding_window": 7, "global_head_dim": 32, "num_kv_shared_layers": 3,
                         "layer_types": [SLIDING, FULL, SLIDING, SLIDING, FULL, FULL]},
         "vision_config": EYES | {"global_head_dim": 8, "num_key_value_heads": 2}, "audio_config": None},
    ],
    "gemma4_unified": [
        {"text_config": {"num_hidden_layers": 6, "sliding_window": 5, "global_head_dim": 32, "attention_k_eq_v": True,
                         "num_global_key_value_heads": 1, "layer_types": [FULL, SLIDING] * 3},
         "vision_config": EYES, "audio_config": None},
    ],
    "mistral3": [
        {"text_config": {"model_type": "mistral", "sliding_window": 12}, "vision_config": EYES},
        {"text_config": {"model_type": "mistral", "rope_parameters": YARN}, "vision_config": EYES,
         "tie_word_embeddings": False},
        {"text_config": {"model_type": "ministral3", "rope_parameters": YARN | {"llama_4_scaling_beta": 0.4}},
         "vision_config": EYES},
    ],
    "llama4": [
        {"text_config": {"attention_chunk_size": 11, "floor_scale": 5, **DENSE}, "vision_config": EYES | {
            "projector_input_dim": 16, "projector_output_dim": 16, "vision_output_dim": 16}},
    ],
    "muse_glimmer": [
        {"text_config": {"sliding_window": 12}, "vision_config": EYES, **MUSE},
        {"text_config": {"sliding_window": 5, "num_hidden_layers": 6, "attention_bias": True, "qk_scale_factor": 1.7,
                         "output_multiplier": 1.3, "final_logit_softcapping": 3.0, "post_norm_eps": 0.1},
         "vision_config": EYES, **MUSE},
        {"text_config": {"sliding_window": 12, "layer_types": [FULL, SLIDING, FULL, SLIDING], "head_dim": 20,
                         "layer_rope_theta": [1e4, 0, 0, 1e4], "hidden_activation": "gelu"},
         "vision_config": EYES, **MUSE},
    ],
}  # fmt: skip
"""By model_type: entries of each configuration; its text_config has the SIZES of architectures.py besides."""

"""Small configurations of architectures with recurrent layers; the others are in architectures.py."""

from __future__ import annotations

from typing import Any

from tests.oracle.config_parts import (
    CHANNELS,
    DELTA,
    EXPERTS,
    FULL,
    LINEAR,
    LOCAL,
    MAMBA,
    NEMOTRON,
    PLAIN,
    ROUTED,
    SLIDING,
    YARN,
    ZAMBA,
)

RECURRENT: dict[str, list[dict[str, Any]]] = {
    "lfm2": [
        {"head_dim": None, "layer_types": ["conv", FULL, "conv", "conv"], "intermediate_size": 90,
         "block_multiple_of": 8},
        {"head_dim": None, "full_attn_idxs": [2], "block_auto_adjust_ff_dim": False, "conv_bias": True,
         "conv_L_cache": 5, "tie_word_embeddings": False},
    ],
    "lfm2_moe": [
        EXPERTS | {"head_dim": None, "layer_types": ["conv", FULL, "conv", "conv"], "num_dense_layers": 1},
        EXPERTS | {"head_dim": None, "layer_types": ["conv", "conv", "conv", FULL], "num_dense_layers": 0,
                   "use_expert_bias": False, "norm_topk_prob": False, "routed_scaling_factor": 1.5,
                   "conv_bias": True},
    ],
    "lfm3": [
        {"layer_types": ["conv", FULL, SLIDING, "conv"], "sliding_window": 12},
        {"layer_types": ["conv", "conv", SLIDING, FULL], "sliding_window": 7, "conv_bias": True, "conv_L_cache": 4,
         "use_sandwich_norm": False, "attention_bias": True, "tie_word_embeddings": False,
         "rope_parameters": {FULL: YARN, SLIDING: PLAIN}},
        {"num_hidden_layers": 5, "use_attention_gate": False, "sliding_window": 12},
    ],
    "zamba2": [
        ZAMBA | {"layers_block_type": [LINEAR, "hybrid", LINEAR, "hybrid"], "use_mem_rope": True,
                 "tie_word_embeddings": False},
        ZAMBA | {"layers_block_type": ["hybrid", LINEAR, "hybrid", "hybrid"], "num_mem_blocks": 2, "mamba_ngroups": 3,
                 "use_shared_attention_adapter": True, "num_key_value_heads": 4, "tie_word_embeddings": True,
                 "mamba_d_conv": 3, "hidden_act": "silu", "rms_norm_eps": 1e-3},
    ],
    "qwen3_next": [
        EXPERTS | DELTA | {"shared_expert_intermediate_size": 24},
        EXPERTS | DELTA | {"shared_expert_intermediate_size": 20, "layer_types": [LINEAR, FULL, LINEAR, LINEAR],
                           "mlp_only_layers": [0], "linear_conv_kernel_dim": 3, "attention_bias": True,
                           "norm_topk_prob": False, "linear_num_key_heads": 4},
    ],
    "qwen3_5_text": [
        DELTA,
        DELTA | {"tie_word_embeddings": True, "layer_types": [LINEAR, FULL, LINEAR, FULL], "linear_key_head_dim": 9,
                 "linear_value_head_dim": 33, "attention_bias": True, "linear_conv_kernel_dim": 2},
    ],
    "granitemoehybrid": [
        MAMBA | {"layer_types": [LINEAR, FULL, LINEAR, LINEAR], "num_local_experts": 0, "shared_intermediate_size": 40,
                 "attention_multiplier": 0.3, "embedding_multiplier": 3.0, "residual_multiplier": 0.4,
                 "logits_scaling": 2.0},
        MAMBA | LOCAL | {"layer_types": [LINEAR, FULL, LINEAR, FULL], "shared_intermediate_size": 24,
                         "position_embedding_type": "rope", "mamba_n_heads": 3, "mamba_d_head": 32,
                         "mamba_n_groups": 1, "mamba_d_conv": 3, "mamba_conv_bias": False, "mamba_proj_bias": True,
                         "attention_multiplier": 0.25},
    ],
    "bamba": [
        MAMBA | {"attn_layer_indices": [1], "rms_norm_eps": 1e-3},
        MAMBA | {"attn_layer_indices": [0, 3], "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True,
                 "mamba_proj_bias": True, "mamba_n_heads": 3, "mamba_d_head": "auto", "mamba_n_groups": 3,
                 "time_step_limit": [0.4, 0.9]},
        MAMBA | {"mamba_conv_bias": False, "mamba_n_groups": 1, "mamba_d_conv": 3, "mamba_expand": 3,
                 "mamba_n_heads": 9, "mamba_chunk_size": 16, "time_step_limit": [0.0, 0.5], "attn_layer_indices": [2],
                 "hidden_act": "gelu"},
    ],
    "falcon_h1": [
        MAMBA | {"mamba_d_ssm": 96, "embedding_multiplier": 3.0, "lm_head_multiplier": 0.6, "key_multiplier": 0.7,
                 "attention_in_multiplier": 1.3, "attention_out_multiplier": 0.8, "ssm_in_multiplier": 1.7,
                 "ssm_out_multiplier": 0.6, "ssm_multipliers": [0.5, 1.5, 0.7, 1.2, 0.9],
                 "mlp_multipliers": [1.4, 0.7]},
        MAMBA | {"mamba_d_ssm": 60, "mamba_d_head": 10, "mamba_rms_norm": True, "mamba_norm_before_gate": True,
                 "mamba_proj_bias": True, "projectors_bias": False, "attention_bias": True, "mlp_bias": True,
                 "tie_word_embeddings": True, "ssm_multipliers": [1.5, 0.6, 1.0, 0.8, 0.7], "mamba_d_conv": 3,
                 "time_step_limit": [0.4, 0.9], "ssm_in_multiplier": 0.5},
        MAMBA | {"mamba_d_ssm": None, "mamba_rms_norm": True, "mamba_norm_before_gate": False, "mamba_n_groups": 3,
                 "projectors_bias": True, "mamba_conv_bias": False, "mamba_chunk_size": 16, "key_multiplier": 1.9,
                 "head_dim": 20, "hidden_act": "gelu", "mlp_multipliers": [0.8, 1.2],
                 "ssm_multipliers": [0.8, 1.2, 0.9, 1.1, 1.3]},
    ],
    "mamba2": [
        {"num_heads": 6, "head_dim": 16, "state_size": 12, "n_groups": 2, "chunk_size": 16},
        {"num_heads": 9, "head_dim": 16, "state_size": 10, "n_groups": 3, "expand": 3, "tie_word_embeddings": True,
         "use_bias": True, "conv_kernel": 3, "time_step_limit": [0.4, 0.9]},
        {"num_heads": 3, "head_dim": 32, "state_size": 33, "n_groups": 1, "use_conv_bias": False, "hidden_act": "gelu",
         "layer_norm_epsilon": 1e-3},
    ],
    "nemotron_h": [
        NEMOTRON | {"hybrid_override_pattern": "M*-M", "n_groups": 3, "time_step_min": 0.001},
        NEMOTRON | ROUTED | {"hybrid_override_pattern": "EM*E-", "moe_shared_expert_intermediate_size": 24,
                             "moe_latent_size": 20, "n_group": 3, "topk_group": 2, "mlp_bias": True, "use_bias": True,
                             "routed_scaling_factor": 1.5, "conv_kernel": 3, "chunk_size": 16},
        NEMOTRON | ROUTED | {"layers_block_type": [LINEAR, "moe", FULL, "moe", "mlp"], "num_experts_per_tok": 3,
                             "moe_shared_expert_intermediate_size": 40, "norm_topk_prob": False,
                             "mlp_hidden_act": "relu2", "use_conv_bias": False, "layer_norm_epsilon": 1e-3,
                             "time_step_min": 0.7, "residual_in_fp32": True},
    ],
    "olmo_hybrid": [
        {"head_dim": None, "linear_num_key_heads": 2, "linear_key_head_dim": 12, "linear_value_head_dim": 20},
        {"head_dim": None, "layer_types": [LINEAR, FULL, LINEAR, FULL], "attention_bias": True,
         "rope_parameters": {"rope_theta": None, "rope_type": "default"}, "linear_conv_kernel_dim": 3},
        {"head_dim": None, "num_hidden_layers": 3, "linear_allow_neg_eigval": False, "tie_word_embeddings": True,
         "linear_value_head_dim": 33, "rms_norm_eps": 1e-3},
    ],
    "kimi_linear": [
        CHANNELS | {"q_lora_rank": None, "layer_types": [LINEAR, LINEAR, FULL, LINEAR]},
        CHANNELS | {"linear_attn_config": {"head_dim": 9, "num_heads": 5, "short_conv_kernel_size": 3,
                                           "full_attn_layers": [2, 4], "kda_layers": [1, 3]},
                    "n_group": 3, "topk_group": 2, "n_shared_experts": 2, "first_k_dense_replace": 2},
        CHANNELS | {"num_hidden_layers": 5, "mlp_layer_types": ["sparse"] * 5, "norm_topk_prob": False,
                    "routed_scaling_factor": 1.3, "num_experts_per_tok": 1, "linear_head_dim": 33},
    ],
    "qwen3_5_moe_text": [EXPERTS | DELTA | {"shared_expert_intermediate_size": 24}],
}
"""By model_type: what each configuration has besides SIZES."""

"""Small configurations of each architecture, with what is special about it switched on, for transformers to make."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, Any] = {
    "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 101, "max_position_embeddings": 256,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
"""Of all of them; a window of 12 positions is shorter than the prompt."""
FULL, SLIDING = "full_attention", "sliding_attention"
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4}
PLAIN = {"rope_type": "default", "rope_theta": 1e4}
EDGE: dict[str, Any] = {
    "num_hidden_layers": 6, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 101,
}  # fmt: skip
DENSE = {"moe_layers": [], "intermediate_size_mlp": 72}
LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 24,
    "short_factor": [1.0 + 0.1 * j for j in range(6)], "long_factor": [1.0 + 2.0 * j for j in range(6)],
}  # fmt: skip
LATENT: dict[str, Any] = {
    "q_lora_rank": 20, "kv_lora_rank": 24, "qk_nope_head_dim": 8, "qk_rope_head_dim": 12, "v_head_dim": 10,
    "num_key_value_heads": 4, "head_dim": None,
}  # fmt: skip
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
"""Of many that mix them."""
LOCAL = {"num_local_experts": 6, "num_experts_per_tok": 2}
"""Of those whose experts are as large as a feed-forward."""
ROUTED = {
    "n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}  # fmt: skip
"""Of DeepSeek's relatives."""
MIXED = {"enable_moe_block": True, "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 32}
"""Of Gemma 4."""
LINEAR = "linear_attention"
MAMBA: dict[str, Any] = {
    "mamba_n_heads": 6, "mamba_d_head": 16, "mamba_d_state": 12, "mamba_n_groups": 2, "head_dim": None,
}  # fmt: skip
"""Of Mamba-2's layers."""
ZAMBA: dict[str, Any] = {
    "n_mamba_heads": 6, "mamba_d_state": 12, "mamba_ngroups": 2, "adapter_rank": 8, "head_dim": None,
    "time_step_min": 0.001,
}  # fmt: skip
"""Of Zamba 2's."""
NEMOTRON: dict[str, Any] = {
    "mamba_num_heads": 6, "mamba_head_dim": 10, "n_groups": 2, "ssm_state_size": 12, "num_hidden_layers": None,
}  # fmt: skip
"""Of Nemotron-H's."""
DELTA: dict[str, Any] = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 12, "linear_value_head_dim": 20,
    "partial_rotary_factor": 0.5,
}  # fmt: skip
"""Of Qwen's delta nets."""
CHANNELS: dict[str, Any] = LATENT | {
    "linear_num_heads": 3, "linear_head_dim": 12, "num_local_experts": 6, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}  # fmt: skip
"""Of Kimi's delta nets, whose channels decay one by one, and of what is beside them."""

ARCHITECTURES: dict[str, list[dict[str, Any]]] = {
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
    "llama": [{}, {"attention_bias": True, "mlp_bias": True, "rope_parameters": YARN}, {"tie_word_embeddings": True}],
    "qwen2": [
        {},
        {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 2},
        {"use_sliding_window": True, "sliding_window": 12, "layer_types": [SLIDING, FULL, FULL, SLIDING]},
    ],
    "qwen3": [
        {},
        {"attention_bias": True, "tie_word_embeddings": True, "head_dim": 24},
        {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1, "rope_parameters": YARN},
    ],
    "qwen3_moe": [
        EXPERTS,
        EXPERTS | {"norm_topk_prob": True, "mlp_only_layers": [1], "decoder_sparse_step": 2, "num_experts_per_tok": 1},
        EXPERTS | {"num_experts": 3, "num_experts_per_tok": 3, "moe_intermediate_size": 20, "head_dim": 24},
    ],
    "mixtral": [
        {"num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": None},
        {"num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 12},
        {"num_local_experts": 7, "num_experts_per_tok": 7, "intermediate_size": 36},
    ],
    "qwen2_moe": [
        EXPERTS | {"shared_expert_intermediate_size": 24},
        EXPERTS | {"norm_topk_prob": True, "mlp_only_layers": [1], "decoder_sparse_step": 2, "qkv_bias": False,
                   "shared_expert_intermediate_size": 40},
        EXPERTS | {"use_sliding_window": True, "sliding_window": 12, "max_window_layers": 3,
                   "shared_expert_intermediate_size": 24, "num_experts_per_tok": 6},
    ],
    "gpt_oss": [
        LOCAL | {"sliding_window": 12, "rope_parameters": YARN | {"truncate": False}},
        LOCAL | {"sliding_window": 5, "layer_types": [FULL, SLIDING, SLIDING, FULL], "swiglu_limit": 0.5,
                 "swiglu_alpha": 0.9, "num_experts_per_tok": 1},
        LOCAL | {"sliding_window": 12, "attention_bias": False, "num_local_experts": 4, "num_experts_per_tok": 4},
    ],
    "deepseek_v2": [
        LATENT | ROUTED | {"rope_parameters": {**YARN, "mscale_all_dim": 0.7, "mscale": 0.7}},
        LATENT | ROUTED | {"topk_method": "group_limited_greedy", "n_group": 3, "topk_group": 2,
                           "num_experts_per_tok": 3, "routed_scaling_factor": 1.7, "q_lora_rank": None},
        LATENT | ROUTED | {"first_k_dense_replace": 0, "attention_bias": True, "mlp_bias": True},
    ],
    "deepseek_v3": [
        LATENT | ROUTED | {"n_group": 3, "topk_group": 2},
        LATENT | ROUTED | {"n_group": 1, "topk_group": 1, "rope_interleave": False, "norm_topk_prob": False,
                           "rope_parameters": {**YARN, "mscale_all_dim": 1.0, "mscale": 1.0}},
        LATENT | ROUTED | {"n_group": 2, "topk_group": 1, "q_lora_rank": None, "attention_bias": True,
                           "n_shared_experts": 2, "num_experts_per_tok": 3},
    ],
    "glm4_moe_lite": [
        LATENT | ROUTED,
        LATENT | ROUTED | {"mlp_layer_types": ["sparse", "dense", "sparse", "sparse"], "rope_interleave": False},
        LATENT | ROUTED | {"n_group": 2, "topk_group": 1, "norm_topk_prob": False, "attention_bias": True},
    ],
    "glm4_moe": [
        ROUTED,
        ROUTED | {"use_qk_norm": True, "attention_bias": True, "routed_scaling_factor": 2.5, "head_dim": 24},
        ROUTED | {"n_group": 3, "topk_group": 2, "norm_topk_prob": False, "first_k_dense_replace": 0,
                  "n_shared_experts": 2, "partial_rotary_factor": 1.0},
    ],
    "olmoe": [
        EXPERTS | {"head_dim": None, "intermediate_size": 32},
        EXPERTS | {"head_dim": None, "intermediate_size": 20, "norm_topk_prob": True, "num_experts_per_tok": 1},
        EXPERTS | {"head_dim": None, "num_key_value_heads": 4, "attention_bias": True, "num_experts_per_tok": 6},
    ],
    "phimoe": [
        {"num_local_experts": 6, "head_dim": None, "attention_bias": True, "lm_head_bias": True},
        {"num_local_experts": 9, "head_dim": None, "router_jitter_noise": 0.4, "sliding_window": 12,
         "intermediate_size": 24},
        {"num_local_experts": 3, "head_dim": None, "router_jitter_noise": 2.0, "original_max_position_embeddings": 300,
         "rope_parameters": LONG | {"original_max_position_embeddings": 300, "short_mscale": 1.2, "long_mscale": 1.5}},
    ],
    "granitemoe": [
        {"num_local_experts": 5, "num_experts_per_tok": 2, "head_dim": None},
        {"num_local_experts": 4, "num_experts_per_tok": 4, "head_dim": None, "embedding_multiplier": 6.0,
         "residual_multiplier": 0.3, "attention_multiplier": 0.4, "logits_scaling": 5.0},
        {"num_local_experts": 9, "num_experts_per_tok": 1, "head_dim": None, "attention_bias": True,
         "tie_word_embeddings": True, "intermediate_size": 24},
    ],
    "ernie4_5_moe": [
        {"moe_num_experts": 6, "moe_k": 2, "moe_intermediate_size": 32, "moe_num_shared_experts": 2},
        {"moe_num_experts": 5, "moe_k": 5, "moe_intermediate_size": 20, "moe_num_shared_experts": 0, "use_bias": True,
         "moe_layer_start_index": 0, "moe_layer_interval": 2, "moe_norm_min": 0.9},
        {"moe_num_experts": 8, "moe_k": 1, "moe_intermediate_size": 32, "moe_num_shared_experts": 1,
         "moe_layer_start_index": 1, "moe_layer_end_index": 2, "tie_word_embeddings": False},
    ],
    "hunyuan_v1_moe": [
        {"num_experts": 6, "moe_topk": 2, "intermediate_size": 32},
        {"num_experts": 6, "moe_topk": [1, 2, 3, 6], "attention_bias": True, "head_dim": 24},
        {"num_experts": 3, "moe_topk": 1, "tie_word_embeddings": True},
    ],
    "minimax_m2": [
        LOCAL,
        LOCAL | {"rotary_dim": 8, "num_experts_per_tok": 1, "intermediate_size": 24},
        LOCAL | {"num_experts_per_tok": 6, "head_dim": 24, "num_key_value_heads": 1, "rotary_dim": 12},
    ],
    "laguna": [
        EXPERTS | {"sliding_window": 12, "layer_types": [FULL, SLIDING, SLIDING, FULL],
                   "num_attention_heads_per_layer": [4, 6, 6, 4], "shared_expert_intermediate_size": 24},
        EXPERTS | {"gating": "per-element", "moe_router_logit_softcapping": 0.7, "moe_routed_scaling_factor": 2.5,
                   "mlp_layer_types": ["sparse", "dense", "sparse", "sparse"], "shared_expert_intermediate_size": 40,
                   "rope_parameters": {FULL: YARN | {"partial_rotary_factor": 0.5}}},
        EXPERTS | {"gating": "per-head", "attention_bias": True, "num_experts_per_tok": 6, "sliding_window": 5,
                   "layer_types": [SLIDING, FULL] * 2, "shared_expert_intermediate_size": 24,
                   "rope_parameters": {FULL: YARN | {"partial_rotary_factor": 0.5}, SLIDING: PLAIN}},
    ],
    "mistral": [{"sliding_window": None}, {"sliding_window": 12}, {"sliding_window": 2, "head_dim": 20}],
    "gemma": [{}, {"head_dim": 24}, {"num_key_value_heads": 1}],
    "gemma2": [
        {"sliding_window": 12, "query_pre_attn_scalar": 10},
        {"sliding_window": 12, "attn_logit_softcapping": None, "final_logit_softcapping": None},
        {"sliding_window": 7, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0, "head_dim": 24},
    ],
    "gemma3_text": [
        {"sliding_window": 12},
        {"sliding_window": 12, "num_hidden_layers": 7, "query_pre_attn_scalar": 10,
         "rope_parameters": {FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, SLIDING: PLAIN}},
        {"sliding_window": 5, "layer_types": [FULL, SLIDING, SLIDING, FULL], "num_key_value_heads": 1},
    ],
    "gemma4_text": [
        {**EDGE, "sliding_window": 12, "global_head_dim": 24},
        {**EDGE, "sliding_window": 7, "global_head_dim": 32, "num_kv_shared_layers": 3, "use_double_wide_mlp": True,
         "layer_types": [SLIDING, FULL, SLIDING, SLIDING, FULL, FULL], "final_logit_softcapping": 3.0},
        {**EDGE, "sliding_window": 12, "global_head_dim": 16, "attention_k_eq_v": True, "num_global_key_value_heads": 1,
         "hidden_size_per_layer_input": 0, "attention_bias": True, "layer_types": [FULL, SLIDING] * 3},
        {**EDGE, "sliding_window": 5, "global_head_dim": 24, "attention_k_eq_v": True, "num_kv_shared_layers": 4,
         "num_global_key_value_heads": 4, "layer_types": [FULL, SLIDING] * 3, "tie_word_embeddings": False,
         "rope_parameters": {FULL: PLAIN | {"rope_type": "proportional", "partial_rotary_factor": 0.5}, SLIDING: YARN}},
        MIXED | {"sliding_window": 12, "global_head_dim": 24, "hidden_size_per_layer_input": 0,
                 "attention_k_eq_v": True, "num_global_key_value_heads": 1, "num_hidden_layers": 6},
        {**EDGE, **MIXED, "top_k_experts": 6, "sliding_window": 7, "global_head_dim": 32, "num_kv_shared_layers": 3,
         "layer_types": [SLIDING, FULL, SLIDING, SLIDING, FULL, FULL]},
    ],
    "gemma4_unified_text": [
        {"num_hidden_layers": 6, "sliding_window": 12, "global_head_dim": 24, "use_bidirectional_attention": None},
        {"num_hidden_layers": 6, "sliding_window": 5, "global_head_dim": 32, "attention_k_eq_v": True,
         "num_global_key_value_heads": 1, "layer_types": [FULL, SLIDING] * 3, "use_bidirectional_attention": None},
        {"num_hidden_layers": 6, "sliding_window": 12, "global_head_dim": 24, "num_kv_shared_layers": 2,
         "use_double_wide_mlp": True, "layer_types": [FULL, SLIDING] * 3, "final_logit_softcapping": 3.0},
    ],
    "gemma3n_text": [
        {**EDGE, "sliding_window": 12, "num_kv_shared_layers": 2, "layer_types": [SLIDING, FULL] * 3, "laurel_rank": 4,
         "activation_sparsity_pattern": [0.95, 0.5, 0.0, 0.0, 0.8, 0.0]},
        {**EDGE, "sliding_window": 5, "num_kv_shared_layers": 0, "altup_num_inputs": 3, "altup_active_idx": 1,
         "altup_correct_scale": False, "final_logit_softcapping": 3.0, "laurel_rank": 8, "attention_bias": True,
         "rope_parameters": {FULL: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, SLIDING: PLAIN}},
        {**EDGE, "sliding_window": 12, "num_kv_shared_layers": 3, "num_key_value_heads": 1, "laurel_rank": 4,
         "layer_types": [FULL, SLIDING, SLIDING, FULL, SLIDING, SLIDING],
         "intermediate_size": [32, 48, 64, 80, 96, 112],
         "activation_sparsity_pattern": [0.9] * 6, "vocab_size_per_layer_input": 90},
    ],
    "ministral3": [
        {"rope_parameters": YARN | {"llama_4_scaling_beta": 0.4}},
        {"rope_parameters": YARN | {"llama_4_scaling_beta": 0.1, "mscale": 1.0, "mscale_all_dim": 1.0,
                                    "original_max_position_embeddings": 7}, "sliding_window": 12, "head_dim": 20},
        {"rope_parameters": YARN | {"llama_4_scaling_beta": 2.0}, "tie_word_embeddings": True},
    ],
    "llama4_text": [
        {"attention_chunk_size": 11, "floor_scale": 5, "attn_scale": 0.7, **DENSE},
        {"attention_chunk_size": 16, "floor_scale": 8, "use_qk_norm": False, "no_rope_layers": [0, 1, 1, 0],
         "attention_bias": True, **DENSE},
        {"attention_chunk_size": None, "attn_temperature_tuning": False, "tie_word_embeddings": True, **DENSE,
         "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
                             "high_freq_factor": 4.0, "original_max_position_embeddings": 32}},
        {"attention_chunk_size": 9, "layer_types": ["chunked_attention", FULL, FULL, "chunked_attention"], **DENSE},
        LOCAL | {"attention_chunk_size": 11, "intermediate_size_mlp": 72, "num_experts_per_tok": 1,
                 "interleave_moe_layer_step": 2},
        {"attention_chunk_size": None, "intermediate_size_mlp": 72, "num_experts_per_tok": 1, "moe_layers": [0, 1, 2],
         "num_local_experts": 3, "intermediate_size": 40},
    ],
    "phi3": [
        {"sliding_window": None, "head_dim": None},
        {"sliding_window": 12, "partial_rotary_factor": 0.5, "head_dim": None},
        {"rope_parameters": LONG, "head_dim": None, "original_max_position_embeddings": 24,
         "max_position_embeddings": 96, "tie_word_embeddings": True},
    ],
    "smollm3": [
        {},
        {"no_rope_layers": [1, 0, 0, 1], "tie_word_embeddings": False},
        {"use_sliding_window": True, "sliding_window": 12, "layer_types": [SLIDING, FULL, SLIDING, FULL]},
        {"use_sliding_window": True, "sliding_window": 12, "no_rope_layers": [1, 0, 0, 1]},
    ],
    "granite": [
        {},
        {"embedding_multiplier": 6.0, "residual_multiplier": 0.3, "attention_multiplier": 0.4, "logits_scaling": 5.0},
        {"attention_bias": True, "tie_word_embeddings": True, "logits_scaling": 0.5},
    ],
    "olmo2": [{}, {"attention_bias": True}, {"num_key_value_heads": 4, "rope_parameters": YARN}],
    "olmo3": [
        {"sliding_window": 12},
        {"sliding_window": 12, "rope_parameters": YARN},
        {"sliding_window": 5, "layer_types": [FULL, SLIDING, FULL, SLIDING]},
    ],
    "seed_oss": [{}, {"attention_bias": True, "attention_out_bias": True}, {"attention_bias": True, "head_dim": 24}],
    "hunyuan_v1_dense": [
        {},
        {"attention_bias": True},
        {"head_dim": 24, "tie_word_embeddings": True},
        {"rope_parameters": {"rope_type": "dynamic", "alpha": 1000.0, "factor": 1.0, "rope_theta": 1e4}},
    ],
    "exaone4": [
        {"sliding_window": None, "layer_types": [FULL] * 4},
        {"sliding_window": 12},
        {"sliding_window": 5, "layer_types": [SLIDING, FULL, SLIDING, FULL]},
    ],
    "ernie4_5": [{}, {"use_bias": True}, {"tie_word_embeddings": False, "head_dim": 24}],
    "glm4": [{}, {"attention_bias": True, "head_dim": 24}, {"num_key_value_heads": 4, "tie_word_embeddings": True}],
    "cohere2": [{"sliding_window": 12}, {"sliding_window": 5, "logit_scale": 2.0}, {"attention_bias": True}],
    "starcoder2": [{"sliding_window": None}, {"sliding_window": 12}, {"use_bias": False, "tie_word_embeddings": False}],
    "gpt_neox": [
        {"head_dim": None, "hidden_size": 64},
        {"head_dim": None, "use_parallel_residual": False, "rotary_pct": 1.0, "attention_bias": False},
        {"head_dim": None, "num_attention_heads": 2, "rotary_pct": 0.5, "rotary_emb_base": 500,
         "hidden_act": "gelu_new", "tie_word_embeddings": True},
    ],
    "phi": [
        {"head_dim": None, "hidden_size": 64},
        {"head_dim": None, "partial_rotary_factor": 1.0, "num_key_value_heads": None, "qk_layernorm": True},
        {"head_dim": None, "hidden_act": "gelu", "layer_norm_eps": 1e-3},
    ],
    "gpt2": [
        {"head_dim": None},
        {"head_dim": None, "scale_attn_by_inverse_layer_idx": True, "activation_function": "gelu",
         "tie_word_embeddings": False},
        {"head_dim": None, "scale_attn_weights": False, "n_inner": 56, "activation_function": "tanh",
         "layer_norm_epsilon": 1e-3},
    ],
    "stablelm": [
        {"head_dim": None, "hidden_size": 64},
        {"head_dim": None, "partial_rotary_factor": 0.5, "use_parallel_residual": True, "qk_layernorm": True},
        {"head_dim": None, "partial_rotary_factor": 1.0, "use_qkv_bias": True, "qk_layernorm": True,
         "tie_word_embeddings": True, "layer_norm_eps": 1e-3},
    ],
    "minicpm": [
        {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16},
        {"scale_emb": 3.5, "dim_model_base": 40, "tie_word_embeddings": False, "attention_bias": True},
        {"scale_depth": 2.0, "dim_model_base": 96, "head_dim": 12, "max_position_embeddings": 96,
         "rope_parameters": LONG},
    ],
    "minicpm3": [
        LATENT | {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16},
        LATENT | {"q_lora_rank": None, "attention_bias": True, "v_head_dim": None, "scale_depth": None},
        LATENT | {"rope_parameters": LONG, "max_position_embeddings": 96, "tie_word_embeddings": False},
        LATENT | {"rope_parameters": {**YARN, "mscale_all_dim": 0.7, "mscale": 1.0}, "scale_emb": 2.5},
    ],
    "telechat": [
        {"head_dim": None},
        {"head_dim": None, "training_seqlen": 16384, "tie_word_embeddings": False},
        {"head_dim": None, "training_seqlen": 4096, "num_key_value_heads": 4},
    ],
    "telechat2": [
        {"head_dim": None, "training_seqlen": 32768, "base_seqlen": 8192},
        {"head_dim": None, "training_seqlen": 8192, "base_seqlen": 8192, "tie_word_embeddings": False},
        {"head_dim": None, "num_key_value_heads": 1},
    ],
}
"""By model_type: what each configuration has besides SIZES."""

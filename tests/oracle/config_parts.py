"""What small configurations of many architectures have in common."""

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

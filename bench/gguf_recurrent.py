"""How llama.cpp has models of whose layers some are recurrent: what gguf_model.py's families of them are made of."""

from __future__ import annotations

import gguf
import numpy as np

Shapes = dict[str, tuple[int, ...]]

ATTENDS = "full_attention"


def head_dim(config: dict) -> int:
    """The size of a head."""
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def kv_heads(config: dict) -> list[int]:
    """Of each layer, 0 for those that do not attend."""
    return [config["num_key_value_heads"] if kind == ATTENDS else 0 for kind in config["layer_types"]]


def delta_net_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """What turns of a head, which layers attend, and the sizes of the others."""
    turning = int(head_dim(config) * config["rope_parameters"]["partial_rotary_factor"])
    writer.add_rope_dimension_count(turning)
    writer.add_rope_dimension_sections([turning // 2 - 2 * (turning // 6), turning // 6, turning // 6, 0])
    writer.add_full_attention_interval(config["full_attention_interval"])
    writer.add_ssm_conv_kernel(config["linear_conv_kernel_dim"])
    writer.add_ssm_state_size(config["linear_key_head_dim"])
    writer.add_ssm_group_count(config["linear_num_key_heads"])
    writer.add_ssm_time_step_rank(config["linear_num_value_heads"])
    writer.add_ssm_inner_size(config["linear_num_value_heads"] * config["linear_value_head_dim"])


def rates_and_ones(name: str, values: np.ndarray, config: dict) -> np.ndarray:
    """Rates of decay instead of their logarithms, and the 1 that norms add, but for those with a gate."""
    if name.endswith("A_log"):
        return -np.exp(values)
    if name.endswith("conv1d.weight"):
        return values.reshape(len(values), -1)
    if name.endswith("linear_attn.norm.weight") or not name.endswith("norm.weight"):
        return values
    return values + 1


def convolution_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """Which layers attend, and the taps of the others."""
    writer.add_head_count_kv(kv_heads(config))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])


def convolution_shapes(shapes: Shapes) -> Shapes:
    """Convolutions without their middle axis."""
    convolutions = ("conv.conv.weight", "conv1d.weight")
    return {name: shape[::2] if name.endswith(convolutions) else shape for name, shape in shapes.items()}


def hybrid_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """Multipliers, experts, which layers attend, and the sizes of the others."""
    writer.add_logit_scale(config["logits_scaling"])
    writer.add_attention_scale(config["attention_multiplier"])
    writer.add_residual_scale(config["residual_multiplier"])
    writer.add_embedding_scale(config["embedding_multiplier"])
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_shared_feed_forward_length(config["shared_intermediate_size"])
    writer.add_ssm_conv_kernel(config["mamba_d_conv"])
    writer.add_ssm_state_size(config["mamba_d_state"])
    writer.add_ssm_group_count(config["mamba_n_groups"])
    writer.add_ssm_inner_size(config["mamba_expand"] * config["hidden_size"])
    writer.add_ssm_time_step_rank(config["mamba_n_heads"])
    writer.add_head_count_kv(kv_heads(config))
    writer.add_rope_scaling_finetuned(config["position_embedding_type"] == "rope")


def hybrid_shapes(shapes: Shapes) -> Shapes:
    """Gates and ups apart, numbers of heads as columns, convolutions without their middle axis; one group's norm."""
    found: Shapes = {}
    for name, shape in convolution_shapes(shapes).items():
        if name.endswith(("shared_mlp.input_linear.weight", "block_sparse_moe.input_linear.weight")):
            ending = "shexp" if "shared" in name else "exps"
            for part in ("gate", "up"):
                found[f"blk.{name.split('.')[2]}.ffn_{part}_{ending}.weight"] = (*shape[:-2], shape[-2] // 2, shape[-1])
        elif name.endswith((".A_log", ".D")):
            found[name] = (*shape, 1)
        elif name.endswith("mamba.norm.weight"):
            found[name] = (1, *shape)
        else:
            found[name] = shape
    return found

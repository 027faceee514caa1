"""Models of whose layers some are recurrent."""

from __future__ import annotations

from typing import Any

import numpy as np
from gguf import MODEL_ARCH, ExpertGatingFuncType, GGUFWriter

from tests.oracle.gguf_kinds.common import Array, Kind, Tensors, part_settings, permuted, plus_one
from tests.oracle.gguf_kinds.llama import granite_settings
from tests.oracle.gguf_kinds.mixtures import expert_settings, qwen2_settings, sized_settings, stacked_experts


def kv_heads(config: dict[str, Any], attends: str = "full_attention") -> list[int]:
    return [config["num_key_value_heads"] if kind == attends else 0 for kind in config["layer_types"]]


def delta_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    part_settings(writer, config)
    writer.add_ssm_conv_kernel(config["linear_conv_kernel_dim"])
    writer.add_ssm_state_size(config["linear_key_head_dim"])
    writer.add_ssm_group_count(config["linear_num_key_heads"])
    writer.add_ssm_time_step_rank(config["linear_num_value_heads"])
    writer.add_ssm_inner_size(config["linear_value_head_dim"] * config["linear_num_value_heads"])
    writer.add_full_attention_interval(config.get("full_attention_interval") or 4)


def qwen35_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    delta_settings(writer, config)
    writer.add_rope_dimension_sections([11, 11, 10, 0])


def next_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    delta_settings(writer, config)
    qwen2_settings(writer, config)


def qwen35_moe_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    qwen35_settings(writer, config)
    qwen2_settings(writer, config)


def tiled(values: Array, config: dict[str, Any], size: int, axis: int = 0) -> Array:
    """Heads of values, of `size` numbers each, the first of each key head first, then the second."""
    values = values.swapaxes(0, axis)
    keys = config["linear_num_key_heads"]
    heads = values.reshape(keys, config["linear_num_value_heads"] // keys, size, -1)
    return heads.swapaxes(0, 1).reshape(values.shape).swapaxes(0, axis)


def delta_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """What both generations have: decays, convolutions without their middle axis, norms with the one they add."""
    if name.endswith(".A_log"):
        yield name, -np.exp(values)
    elif name.endswith(".dt_bias"):
        yield name.replace(".dt_bias", ".dt_proj.bias"), values
    elif ".conv1d." in name:
        yield name, values.squeeze(1)
    elif name.endswith("linear_attn.norm.weight"):
        yield name, values
    else:
        for each, made in stacked_experts(name, values, config):
            yield from plus_one(each, made, config)


def next_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    if ".in_proj_qkvz." not in name:
        yield from delta_tensors(name, values, config)
        return
    keys, dim = config["linear_num_key_heads"], config["linear_key_head_dim"]
    size = config["linear_num_value_heads"] // keys * config["linear_value_head_dim"]
    heads = values.reshape(keys, 2 * (dim + size), -1)
    parts = np.split(heads, np.cumsum([dim, dim, size]), axis=1)
    q, k, v, z = (part.reshape(-1, values.shape[1]) for part in parts)
    yield name.replace("qkvz", "qkv"), np.concatenate([q, k, v])
    yield name.replace("qkvz", "z"), z


def qwen35_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    size = config["linear_value_head_dim"]
    before = 2 * config["linear_num_key_heads"] * config["linear_key_head_dim"]
    if ".in_proj_qkv." in name or ".conv1d." in name:
        values = np.concatenate([values[:before], tiled(values[before:], config, size)])
    elif ".in_proj_z." in name:
        values = tiled(values, config, size)
    elif name.endswith((".A_log", ".dt_bias", ".in_proj_a.weight", ".in_proj_b.weight")):
        values = tiled(values, config, 1)
    elif ".linear_attn.out_proj." in name:
        values = tiled(values, config, size, axis=1)
    for each, made in delta_tensors(name, values, config):
        if not each.endswith(".experts.gate_up_proj"):
            yield each, made
            continue
        gates, ups = np.split(made, 2, axis=1)
        yield each.replace("gate_up_proj", "gate_proj.weight"), gates
        yield each.replace("gate_up_proj", "up_proj.weight"), ups


def lfm2_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_head_count_kv(kv_heads(config))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    size, multiple = config["intermediate_size"], config.get("block_multiple_of", 256)
    if config.get("block_auto_adjust_ff_dim", False):
        size = int(config["block_ffn_dim_multiplier"] * int(2 * size / 3))
        size = -(-size // multiple) * multiple
    writer.add_feed_forward_length(size)


def lfm2_moe_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    sized_settings(writer, config)
    lfm2_settings(writer, config)
    writer.add_leading_dense_block_count(config["num_dense_layers"])
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)


def lfm2_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    name = name.replace(".expert_bias", ".expert_bias.bias")
    for each, made in stacked_experts(name, values.squeeze(1) if "conv.conv." in name else values, config):
        yield each.replace("model.layers", "layers") if ".experts." in each else each, made


def hybrid_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    granite_settings(writer, config)
    if config["num_local_experts"]:
        expert_settings(writer, config)
    writer.add_expert_shared_feed_forward_length(config["shared_intermediate_size"])
    writer.add_ssm_conv_kernel(config["mamba_d_conv"])
    writer.add_ssm_state_size(config["mamba_d_state"])
    writer.add_ssm_group_count(config["mamba_n_groups"])
    writer.add_ssm_inner_size(config["mamba_expand"] * config["hidden_size"])
    writer.add_ssm_time_step_rank(config["mamba_n_heads"])
    writer.add_head_count_kv(
        [
            config["num_key_value_heads"] if "linear" not in kind and kind != "mamba" else 0
            for kind in config["layer_types"]
        ]
    )
    writer.add_rope_scaling_finetuned(config.get("position_embedding_type") == "rope")


def hybrid_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    has_experts, at = bool(config["num_local_experts"]), ".".join(["blk", *name.split(".")[2:3]])
    if name.endswith(("shared_mlp.input_linear.weight", "block_sparse_moe.input_linear.weight")):
        gate, up = np.split(values, 2, axis=-2)
        ending = "_exps" if "sparse" in name else "_shexp" if has_experts else ""
        yield f"{at}.ffn_gate{ending}.weight", gate
        yield f"{at}.ffn_up{ending}.weight", up
    elif name.endswith("shared_mlp.output_linear.weight") and not has_experts:
        yield f"{at}.ffn_down.weight", values
    elif name.endswith(".A_log"):
        yield name, -np.exp(values[:, None])
    elif name.endswith(".D"):
        yield name, values[:, None]
    elif name.endswith(".dt_bias"):
        yield name.replace(".dt_bias", ".dt_proj.bias"), values
    elif name.endswith("mamba.norm.weight"):
        yield name, values.reshape(config["mamba_n_groups"], -1)
    elif ".conv1d.weight" in name:
        yield name, values.squeeze(1)
    else:
        yield from permuted(name, values, config)


KINDS = {
    "qwen3_5_text": Kind(MODEL_ARCH.QWEN35, qwen35_settings, qwen35_tensors),
    "qwen3_5_moe_text": Kind(MODEL_ARCH.QWEN35MOE, qwen35_moe_settings, qwen35_tensors),
    "qwen3_next": Kind(MODEL_ARCH.QWEN3NEXT, next_settings, next_tensors),
    "lfm2": Kind(MODEL_ARCH.LFM2, lfm2_settings, lfm2_tensors),
    "lfm2_moe": Kind(MODEL_ARCH.LFM2MOE, lfm2_moe_settings, lfm2_tensors),
    "granitemoehybrid": Kind(MODEL_ARCH.GRANITE_HYBRID, hybrid_settings, hybrid_tensors),
}

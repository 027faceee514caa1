"""Mixtures of experts: those whose experts lie one by one in a folder, and those that have stacks there, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, ExpertGatingFuncType, GGUFWriter

from tests.oracle.gguf_kinds.common import Array, Kind, Tensors, head_dim, long_factors, part_settings, permuted
from tests.oracle.gguf_kinds.llama import (
    granite_settings,
    hunyuan_settings,
    llama3_factors,
    llama_settings,
    phi3_settings,
)

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
PICKS = ("num_experts_per_tok", "top_k_experts", "moe_k", "moe_topk")
Settings = Callable[[GGUFWriter, dict[str, Any]], None]


def first_of(config: dict[str, Any], names: tuple[str, ...]) -> int:
    return next(int(config[name]) for name in names if config.get(name) is not None)


def expert_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    """What the converter writes of every mixture."""
    writer.add_expert_count(first_of(config, EXPERTS))
    writer.add_expert_used_count(first_of(config, PICKS))
    if config.get("n_group") is not None:
        writer.add_expert_group_count(config["n_group"])
    if config.get("topk_group") is not None:
        writer.add_expert_group_used_count(config["topk_group"])


def phi_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    expert_settings(writer, config)
    phi3_settings(writer, config)


def sized_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    expert_settings(writer, config)
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])


def qwen2_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    sized_settings(writer, config)
    writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])


def mixtral_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    expert_settings(writer, config)
    llama_settings(writer, config)


def granite_moe_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    expert_settings(writer, config)
    granite_settings(writer, config)


def gpt_oss_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    expert_settings(writer, config)
    writer.add_sliding_window(config["sliding_window"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])


def llama4_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    mixtral_settings(writer, config)
    writer.add_feed_forward_length(config["intermediate_size_mlp"])
    writer.add_interleave_moe_layer_step(config["interleave_moe_layer_step"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])


def grouped_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    """Of DeepSeek and its relatives."""
    sized_settings(writer, config)
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_leading_dense_block_count(config.get("first_k_dense_replace") or 0)
    if config.get("routed_scaling_factor") is not None:
        writer.add_expert_weights_scale(config["routed_scaling_factor"])
    if config.get("norm_topk_prob"):
        writer.add_expert_weights_norm(True)


def glm4_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    grouped_settings(writer, config)
    part_settings(writer, config)
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)


def deepseek_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    grouped_settings(writer, config)
    latent = config["kv_lora_rank"]
    writer.add_head_count_kv(1)
    writer.add_vocab_size(config["vocab_size"])
    if config["q_lora_rank"] is not None:
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_kv_lora_rank(latent)
    writer.add_key_length(latent + config["qk_rope_head_dim"])
    writer.add_value_length(latent)
    writer.add_key_length_mla(config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
    writer.add_value_length_mla(config["v_head_dim"])
    writer.add_rope_dimension_count(config["qk_rope_head_dim"])
    sigmoid = config["model_type"] != "deepseek_v2"
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID if sigmoid else ExpertGatingFuncType.SOFTMAX)
    sharpness = config["rope_parameters"].get("mscale_all_dim")
    if sharpness is not None:
        writer.add_rope_scaling_yarn_log_mul(0.1 * sharpness)


def ernie_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    sized_settings(writer, config)
    writer.add_interleave_moe_layer_step(config["moe_layer_interval"])
    writer.add_leading_dense_block_count(config["moe_layer_start_index"])
    shared = config["moe_num_shared_experts"]
    writer.add_expert_shared_count(shared)
    if shared:
        writer.add_expert_shared_feed_forward_length(config["intermediate_size"] // config["num_key_value_heads"])


def hunyuan_moe_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    expert_settings(writer, config)
    hunyuan_settings(writer, config)
    writer.add_expert_shared_feed_forward_length(config["intermediate_size"])
    writer.add_expert_feed_forward_length(config.get("moe_intermediate_size") or config["intermediate_size"])
    writer.add_expert_shared_count(1)


def minimax_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    expert_settings(writer, config)
    writer.add_expert_feed_forward_length(config["intermediate_size"])
    part = config["rope_parameters"].get("partial_rotary_factor", 1.0)
    writer.add_rope_dimension_count(int(part * head_dim(config)))
    writer.add_expert_gating_func(ExpertGatingFuncType.SIGMOID)


def stacked_experts(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """All experts' matrices of a kind as one tensor, where the first of them is met; corrections as a bias."""
    layer, dot, rest = name.partition(".experts.")
    number, _, part = rest.partition(".")
    if not dot or not number.isdecimal():
        yield name.replace("e_score_correction_bias", "e_score_correction.bias"), values
    elif number == "0":
        each = [config["tensors"][f"{layer}.experts.{expert}.{part}"] for expert in range(first_of(config, EXPERTS))]
        yield f"{layer}.experts.{part}", np.stack(each)


def mixtral_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    for each, stack in stacked_experts(name, values, config):
        own = each.replace("model.layers", "layers").replace("block_sparse_moe", "feed_forward")
        yield from permuted(own if stack.ndim == 3 else each, stack, config)


def granite_moe_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    if not name.endswith(".input_linear.weight"):
        yield from permuted(name, values, config)
        return
    layer = name.split(".")[2]
    for part, matrix in zip(("gate", "up"), np.split(values, 2, axis=1), strict=True):
        yield f"blk.{layer}.ffn_{part}_exps.weight", matrix


def apart(gate_up: str, gates: Callable[[Array], Array], ups: Callable[[Array], Array]) -> Any:
    """Stacks [experts, in, out] of gates and ups in one, as two turned ones; and biases."""

    def tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
        turned = values.swapaxes(1, 2) if values.ndim == 3 else values
        stem = name.removesuffix("_bias")
        kind = ".bias" if stem != name else ".weight"
        if stem.endswith(f".experts.{gate_up}"):
            for part, chosen in (("gate_proj", gates), ("up_proj", ups)):
                rows = np.moveaxis(chosen(np.moveaxis(turned, 1, 0)), 0, 1)
                yield stem.replace(gate_up, part) + kind, rows
        elif stem.endswith(".experts.down_proj"):
            yield stem + kind, turned
        else:
            yield f"{name}.weight" if name.endswith(".sinks") else name, values

    return tensors


def deepseek_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Keys' and values' matrices of each head are stacks, the keys' turned."""
    if ".kv_b_proj." not in name:
        yield from stacked_experts(name, values, config)
        return
    still, value = config["qk_nope_head_dim"], config["v_head_dim"]
    heads = values.reshape(config["num_attention_heads"], still + value, -1)
    yield name.replace("kv_b_proj", "k_b_proj"), heads[:, :still].swapaxes(1, 2)
    yield name.replace("kv_b_proj", "v_b_proj"), heads[:, still:]


def ernie_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    for each, made in stacked_experts(name, values, config):
        yield each, made.squeeze() if each.endswith("e_score_correction.bias") else made


KINDS = {
    "qwen2_moe": Kind(MODEL_ARCH.QWEN2MOE, qwen2_settings, stacked_experts),
    "qwen3_moe": Kind(MODEL_ARCH.QWEN3MOE, sized_settings, stacked_experts),
    "olmoe": Kind(MODEL_ARCH.OLMOE, expert_settings, stacked_experts),
    "mixtral": Kind(MODEL_ARCH.LLAMA, mixtral_settings, mixtral_tensors),
    "granitemoe": Kind(MODEL_ARCH.GRANITE_MOE, granite_moe_settings, granite_moe_tensors),
    "gpt_oss": Kind(
        MODEL_ARCH.GPT_OSS, gpt_oss_settings, apart("gate_up_proj", lambda rows: rows[::2], lambda rows: rows[1::2])
    ),
    "llama4_text": Kind(
        MODEL_ARCH.LLAMA4, llama4_settings,
        apart("gate_up_proj", lambda rows: rows[: len(rows) // 2], lambda rows: rows[len(rows) // 2 :]),
        llama3_factors,
    ),
    "deepseek_v2": Kind(MODEL_ARCH.DEEPSEEK2, deepseek_settings, deepseek_tensors),
    "deepseek_v3": Kind(MODEL_ARCH.DEEPSEEK2, deepseek_settings, deepseek_tensors),
    "glm4_moe_lite": Kind(MODEL_ARCH.DEEPSEEK2, deepseek_settings, deepseek_tensors),
    "glm4_moe": Kind(MODEL_ARCH.GLM4_MOE, glm4_settings, stacked_experts),
    "ernie4_5_moe": Kind(MODEL_ARCH.ERNIE4_5_MOE, ernie_settings, ernie_tensors),
    "hunyuan_v1_moe": Kind(MODEL_ARCH.HUNYUAN_MOE, hunyuan_moe_settings, stacked_experts),
    "phimoe": Kind(MODEL_ARCH.PHIMOE, phi_settings, stacked_experts, long_factors),
    "minimax_m2": Kind(MODEL_ARCH.MINIMAXM2, minimax_settings, stacked_experts),
}  # fmt: skip

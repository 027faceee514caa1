"""Writes a folder of transformers as a GGUF file, as llama.cpp's converter lays out each architecture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import gguf
import numpy as np
import safetensors.numpy
from gguf import MODEL_ARCH, GGUFWriter, RopeScalingType
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = Iterator[tuple[str, Array]]


class Kind(NamedTuple):
    """`settings` writes what there is beside the common entries; `tensors` gives what becomes of a tensor, by
    Hugging Face's or llama.cpp's name; `extra` tensors that are none of the model's."""

    arch: MODEL_ARCH
    settings: Callable[[GGUFWriter, dict[str, Any]], None] = lambda writer, config: None
    tensors: Callable[[str, Array, dict[str, Any]], Tensors] = lambda name, values, config: iter([(name, values)])
    extra: Callable[[dict[str, Any]], Tensors] = lambda config: iter(())
    common: bool = True


def write_gguf(folder: Path, path: Path, quantize: Callable[[str, Array], tuple[Array, Any]] | None = None) -> None:
    """Write the model of a folder. `quantize`: a tensor's data and ggml type, by its name; float32 without."""
    config = json.loads((folder / "config.json").read_text())
    kind = KINDS[config["model_type"]]
    writer = GGUFWriter(path, gguf.MODEL_ARCH_NAMES[kind.arch])
    writer.add_type("model")
    if kind.common:
        write_common(writer, config)
    kind.settings(writer, config)
    names = gguf.get_tensor_name_map(kind.arch, layers_of(config))

    def add(name: str, values: Array) -> None:
        target = names.get_name(name, try_suffixes=(".weight", ".bias")) or name
        data, dtype = (values, None) if quantize is None else quantize(target, values)
        writer.add_tensor(target, np.ascontiguousarray(data), raw_dtype=dtype)

    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    config["tensors"] = tensors
    for name in sorted(tensors):
        for each, values in kind.tensors(name, tensors[name].astype(np.float32), config):
            add(each, values)
    for name, values in kind.extra(config):
        writer.add_tensor(name, np.asarray(values, np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()


def layers_of(config: dict[str, Any]) -> int:
    return int(config.get("num_hidden_layers") or config["n_layer"])


def head_dim(config: dict[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def rope_of(config: dict[str, Any]) -> dict[str, Any]:
    """The rotation of layers that see everything."""
    rope = config.get("rope_parameters") or {}
    found: dict[str, Any] = rope.get("full_attention", rope)
    return found


def write_common(writer: GGUFWriter, config: dict[str, Any]) -> None:
    """What llama.cpp's converter writes of every model, where config.json has it."""
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    if isinstance(config["intermediate_size"], int):
        writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    if config.get("num_key_value_heads"):
        writer.add_head_count_kv(config["num_key_value_heads"])
    rope = rope_of(config)
    kind = rope.get("rope_type")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(kind))
        writer.add_rope_scaling_factor(rope["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for name in ("beta_fast", "beta_slow"):
            if name in rope:
                getattr(writer, f"add_rope_scaling_yarn_{name}")(rope[name])
        if rope.get("attention_factor") is not None:
            writer.add_rope_scaling_yarn_attn_factor(rope["attention_factor"])
    if kind == "longrope":
        writer.add_rope_scaling_type(RopeScalingType.LONGROPE)
    if "rope_theta" in rope:
        writer.add_rope_freq_base(rope["rope_theta"])
    sliding = (config.get("rope_parameters") or {}).get("sliding_attention", {})
    if "rope_theta" in sliding:
        writer.add_rope_freq_base_swa(sliding["rope_theta"])
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    for name in ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"):
        if name in config:
            writer.add_layer_norm_eps(config[name])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])


def slides(config: dict[str, Any]) -> list[bool]:
    return [kind == "sliding_attention" for kind in config["layer_types"]]


def permuted(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Rows of q and k so that neighbours turn."""
    heads = 0
    if ".q_proj." in name:
        heads = config["num_attention_heads"]
    elif ".k_proj." in name:
        heads = config["num_key_value_heads"]
    if heads:
        parts = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
        values = parts.swapaxes(1, 2).reshape(values.shape)
    yield name, values


def plus_one(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Norms with what their models add."""
    yield name, values + np.float32(1) if name.endswith("norm.weight") else values


def llama_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(head_dim(config))


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


def long_factors(config: dict[str, Any]) -> Tensors:
    rope = rope_of(config)
    if rope.get("rope_type") == "longrope":
        yield "rope_factors_long.weight", np.array(rope["long_factor"])
        yield "rope_factors_short.weight", np.array(rope["short_factor"])


def window_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    if config.get("sliding_window") is not None:
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern(slides(config))


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


def part_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    part = rope_of(config).get("partial_rotary_factor", 1.0)
    writer.add_rope_dimension_count(int(head_dim(config) * part))


def cohere2_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_logit_scale(config["logit_scale"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_scaling_type(RopeScalingType.NONE)


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


def hunyuan_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    rope = rope_of(config)
    if rope.get("rope_type") == "dynamic":
        size = config["head_dim"]
        writer.add_rope_scaling_type(RopeScalingType.NONE)
        writer.add_rope_scaling_factor(1)
        writer.add_rope_freq_base(rope["rope_theta"] * rope["alpha"] ** (size / (size - 2)))


def gemma2_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    writer.add_sliding_window(config["sliding_window"])


def gemma3_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    writer.add_sliding_window(config["sliding_window"])


def gemma3n_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    gemma3_settings(writer, config)
    writer.add_altup_active_idx(config["altup_active_idx"])
    writer.add_altup_num_inputs(config["altup_num_inputs"])
    writer.add_embedding_length_per_layer_input(config["hidden_size_per_layer_input"])
    writer.add_shared_kv_layers(config["num_kv_shared_layers"])
    cuts = [NormalDist().inv_cdf(part) if part else -math.inf for part in config["activation_sparsity_pattern"]]
    writer.add_activation_sparsity_scale(cuts)
    writer.add_sliding_window_pattern(slides(config))
    if isinstance(config["intermediate_size"], list):
        writer.add_feed_forward_length(config["intermediate_size"])


def gemma3n_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """Projections of streams as one stack, when the first comes by."""
    stack = next((each for each in ("altup_unembed_projections", "altup_projections") if f".{each}." in name), None)
    if stack is None:
        yield f"{name}.weight" if name.endswith("_scale") else name, values
    elif name.endswith(".0.weight"):
        stem = name.removesuffix(".0.weight")
        count = config["altup_num_inputs"] - 1
        matrices = [config["tensors"][f"{stem}.{number}.weight"] for number in range(count)]
        yield f"{stem}.weight", np.stack(matrices).astype(np.float32)


def full_layer(config: dict[str, Any]) -> dict[str, int]:
    """The sizes of the last layer, which sees everything."""
    own = config["per_layer_config"].get(str(config["num_hidden_layers"] - 1), {})
    return {name: own.get(name, config[name]) for name in ("head_dim", "num_key_value_heads")}


def gemma4_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    kinds = slides(config)
    shared = config.get("num_kv_shared_layers") or 0
    writer.add_shared_kv_layers(shared)
    writer.add_embedding_length_per_layer_input(config.get("hidden_size_per_layer_input") or 0)
    writer.add_sliding_window(config["sliding_window"])
    writer.add_sliding_window_pattern(kinds)
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    full, sliding = full_layer(config)["head_dim"], config["head_dim"]
    writer.add_key_length(full)
    writer.add_value_length(full)
    writer.add_key_length_swa(sliding)
    writer.add_value_length_swa(sliding)
    if config.get("use_double_wide_mlp"):
        size, first = config["intermediate_size"], config["num_hidden_layers"] - shared
        writer.add_feed_forward_length([size if i < first else 2 * size for i in range(config["num_hidden_layers"])])
    heads = full_layer(config)["num_key_value_heads"]
    if heads != config["num_key_value_heads"]:
        writer.add_head_count_kv([config["num_key_value_heads"] if each else heads for each in kinds])
    writer.add_rope_dimension_count(full)
    writer.add_rope_dimension_count_swa(sliding)


def gemma4_tensors(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    yield f"{name}.weight" if name.endswith("layer_scalar") else name, values


def gemma4_factors(config: dict[str, Any]) -> Tensors:
    rope = rope_of(config)
    size = full_layer(config)["head_dim"]
    turning, angles = int(size * rope["partial_rotary_factor"] / 2), size // 2
    yield "rope_freqs.weight", np.array([1.0] * turning + [1e30] * (angles - turning))


A = MODEL_ARCH
def expert_settings(writer: GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    if config["model_type"] != "olmoe":
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])


def stacked_experts(name: str, values: Array, config: dict[str, Any]) -> Tensors:
    """All experts' matrices of a kind as one tensor, where the first of them is met."""
    layer, dot, rest = name.partition(".experts.")
    number, _, part = rest.partition(".")
    if not dot:
        yield name, values
    elif number == "0":
        count = config.get("num_experts") or config["num_local_experts"]
        each = [config["tensors"][f"{layer}.experts.{expert}.{part}"] for expert in range(count)]
        yield f"{layer}.experts.{part}", np.stack(each)


KINDS = {
    "llama": Kind(A.LLAMA, llama_settings, permuted, llama3_factors),
    "mistral": Kind(A.LLAMA, llama_settings, permuted),
    "qwen2": Kind(A.QWEN2),
    "qwen3": Kind(A.QWEN3),
    "qwen3_moe": Kind(A.QWEN3MOE, expert_settings, stacked_experts),
    "olmoe": Kind(A.OLMOE, expert_settings, stacked_experts),
    "gemma": Kind(A.GEMMA, tensors=plus_one),
    "gemma2": Kind(A.GEMMA2, gemma2_settings, plus_one),
    "gemma3_text": Kind(A.GEMMA3, gemma3_settings, plus_one),
    "gemma3n_text": Kind(A.GEMMA3N, gemma3n_settings, gemma3n_tensors),
    "gemma4_text": Kind(A.GEMMA4, gemma4_settings, gemma4_tensors, gemma4_factors),
    "gemma4_unified_text": Kind(A.GEMMA4, gemma4_settings, gemma4_tensors, gemma4_factors),
    "phi3": Kind(A.PHI3, phi3_settings, extra=long_factors),
    "granite": Kind(A.GRANITE, granite_settings, permuted),
    "smollm3": Kind(A.SMOLLM3, llama_settings, permuted),
    "olmo2": Kind(A.OLMO2),
    "olmo3": Kind(A.OLMO2, window_settings),
    "ministral3": Kind(A.MISTRAL3, mistral3_settings, permuted),
    "glm4": Kind(A.GLM4, part_settings),
    "cohere2": Kind(A.COHERE2, cohere2_settings),
    "ernie4_5": Kind(A.ERNIE4_5),
    "starcoder2": Kind(A.STARCODER2),
    "stablelm": Kind(A.STABLELM, stablelm_settings, stablelm_tensors),
    "gpt2": Kind(A.GPT2, gpt2_settings, gpt2_tensors, common=False),
    "phi": Kind(A.PHI2, phi_settings, common=False),
    "gpt_neox": Kind(A.GPTNEOX, gpt_neox_settings, gpt_neox_tensors, common=False),
    "minicpm": Kind(A.MINICPM, minicpm_settings, permuted, long_factors),
    "minicpm3": Kind(A.MINICPM3, minicpm3_settings, extra=long_factors, common=False),
    "hunyuan_v1_dense": Kind(A.HUNYUAN_DENSE, hunyuan_settings),
    "exaone4": Kind(A.EXAONE4, window_settings, extra=llama3_factors),
    "seed_oss": Kind(A.SEED_OSS),
}
"""By model_type."""

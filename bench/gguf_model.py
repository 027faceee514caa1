"""Write the random model that `ftllm-nb bench --random` makes of a configuration as a GGUF file.

The weights are the same numbers, in llama.cpp's own formats. Nothing is tokenized with it: its vocabulary is made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf_recurrent import (
    convolution_settings,
    convolution_shapes,
    delta_net_settings,
    head_dim,
    hybrid_settings,
    hybrid_shapes,
    rates_and_ones,
)

from ftllm_nb.benchmark.run import Settings, open_weights
from ftllm_nb.checkpoint import Checkpoint
from ftllm_nb.graph.rope import rope_settings

FORMATS = {
    "int4g32": (gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0),
    "int8g32": (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q8_0),
    "bfloat16": (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.BF16),
}
"""The types of a model's matrices, and of its embedding, that have as many bits a weight as ours."""
FLOATS = (
    "mlp.gate.weight", "mlp.router.weight", "router.layer.weight", "conv1d.weight", "conv.conv.weight",
    "in_proj_a.weight", "in_proj_b.weight", "A_log", ".D",
)  # fmt: skip
"""How the names of matrices end that are floats in all types: what chooses experts, and what steers a state."""


@dataclass(frozen=True)
class Family:
    """How llama.cpp has the models of a model_type.

    `name` and `arch`: what it calls them; `settings`: writes what they have beside all others' entries; `change`: a
    tensor's values as llama.cpp wants them, by its name and the config; `shapes`: those of its tensors, where it cuts
    and names them otherwise.
    """

    name: str
    arch: gguf.MODEL_ARCH
    settings: Callable[[gguf.GGUFWriter, dict], None] = lambda writer, config: None
    change: Callable[[str, np.ndarray, dict], np.ndarray] = lambda name, values, config: values
    shapes: Callable[[dict[str, tuple[int, ...]]], dict[str, tuple[int, ...]]] = lambda shapes: shapes


def write_gguf(config_file: str, dtype: str, path: Path) -> None:
    """Write the model of a config.json, in the GGUF type that answers to our `dtype`. Takes seconds to a minute."""
    config = json.loads(Path(config_file).read_text())
    family = family_of(config, config_file)
    matrices, embedding = FORMATS[dtype]
    writer = gguf.GGUFWriter(path, family.name)
    write_settings(writer, config)
    write_vocabulary(writer, [f"<{number}>" for number in range(config["vocab_size"])], ["< 0"])
    family.settings(writer, config)
    names = TensorNames(family, config)
    with open_weights(Settings(random_config=config_file, random=True)) as checkpoint:
        for name, tensors in stacks_of(checkpoint.tensors).items():
            values = [family.change(name, float_values(checkpoint, each), config) for each in tensors]
            values = np.stack(values) if len(tensors) > 1 else values[0]
            kind = gguf.GGMLQuantizationType.F32
            if values.ndim > 1 and not name.endswith(FLOATS):
                kind = embedding if "embed_tokens" in name or "lm_head" in name else matrices
            writer.add_tensor(names.of(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
    write_file(writer)


def stacks_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The tensors by name; those of a layer's experts as one, by ascending number."""
    stacks: dict[str, list[str]] = {}
    for name in names:
        stacks.setdefault(re.sub(r"\.experts\.\d+\.", ".experts.", name), []).append(name)
    return stacks


def write_file(writer: gguf.GGUFWriter) -> None:
    """Write all that was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def family_of(config: dict, config_file: str) -> Family:
    """The family of a config.json's model."""
    family = FAMILIES.get(config["model_type"])
    if family is None:
        raise SystemExit(f"{config_file}: {config['model_type']} is not written as GGUF, only {', '.join(FAMILIES)}.")
    return family


class TensorNames:
    """What GGUF calls the tensors of a model."""

    def __init__(self, family: Family, config: dict) -> None:
        self._names = gguf.get_tensor_name_map(family.arch, config["num_hidden_layers"])

    def of(self, name: str) -> str:
        """By Hugging Face's name."""
        if name.startswith("blk."):  # GGUF's own
            return name
        known = name.replace("dt_bias", "dt_proj.bias")
        target = self._names.get_name(known, try_suffixes=(".weight", ".bias"))
        if target is None:
            raise SystemExit(f"GGUF has no name for the tensor {name}.")
        return target


def write_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """The sizes of the model."""
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_rope_freq_base(config.get("rope_theta") or config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config.get("norm_eps") or config["rms_norm_eps"])


def write_vocabulary(writer: gguf.GGUFWriter, tokens: list[str], merges: list[str]) -> None:
    """Tokens by id, of bytes as GPT-2 spells them, and merges; the first begins and ends a text, and those that begin
    with "<|" are no text.
    """
    kinds = [gguf.TokenType.CONTROL if token.startswith("<|") else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_eos_token_id(0)


def llama_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """The part of a head that turns, and by what Llama 3's scaling divides the speed of each pair."""
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_vocab_size(config["vocab_size"])
    if config.get("rope_scaling"):
        plain, scaled = (
            rope_settings(entries, config["max_position_embeddings"]).type.frequencies(slice(0, 1))
            for entries in (config | {"rope_scaling": None}, config)
        )
        writer.add_tensor("rope_freqs.weight", (plain / scaled).astype(np.float32))


def mixture_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """How many experts there are, of a token, and of what size."""
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])


def gpt_oss_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """Experts, the window of every second layer, and yarn."""
    scaling = config["rope_scaling"]
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(scaling["factor"])
    writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])


def gpt_oss_shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Experts' gates and ups apart, matrices as [experts, rows, columns], and sinks that are called weights."""
    found = {}
    for name, (count, *shape) in shapes.items():
        head, _, part = name.rpartition(".")
        kind = "bias" if part.endswith("_bias") else "weight"
        if part.startswith("gate_up_proj"):
            for each in ("gate", "up"):
                found[f"{head}.{each}_proj.{kind}"] = (count, shape[-1] // 2, *shape[:-1])
        elif part.startswith("down_proj"):
            found[f"{head}.down_proj.{kind}"] = (count, *shape[::-1])
        else:
            found[f"{name}.weight" if part == "sinks" else name] = (count, *shape)
    return found


def neighbours(name: str, values: np.ndarray, config: dict) -> np.ndarray:
    """Rows of q and k so that neighbours turn, as llama.cpp has it for Llama: row 2 j is row j, row 2 j + 1 row
    j + half.
    """
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return values
    heads = values.reshape(-1, 2, head_dim(config) // 2, values.shape[1])
    return heads.swapaxes(1, 2).reshape(values.shape)


def gemma_settings(writer: gguf.GGUFWriter, config: dict) -> None:
    """The window, and the base of the layers that have it; every sixth has none."""
    if config.get("sliding_window_pattern", 6) != 6 or config["query_pre_attn_scalar"] != head_dim(config):
        raise SystemExit("llama.cpp's gemma3 has a full layer after five that slide, and scores by the size of a head.")
    writer.add_sliding_window(config["sliding_window"])
    writer.add_rope_freq_base_swa(config["rope_local_base_freq"])


def added_one(name: str, values: np.ndarray, config: dict) -> np.ndarray:
    """Weights of norms with the 1 that Gemma adds to them."""
    return values + 1 if name.endswith("norm.weight") else values


FAMILIES = {
    "qwen2": Family("qwen2", gguf.MODEL_ARCH.QWEN2),
    "qwen3": Family("qwen3", gguf.MODEL_ARCH.QWEN3),
    "qwen3_moe": Family("qwen3moe", gguf.MODEL_ARCH.QWEN3MOE, mixture_settings),
    "qwen3_5_text": Family("qwen35", gguf.MODEL_ARCH.QWEN35, delta_net_settings, rates_and_ones, convolution_shapes),
    "lfm2": Family("lfm2", gguf.MODEL_ARCH.LFM2, convolution_settings, shapes=convolution_shapes),
    "granitemoehybrid": Family("granitehybrid", gguf.MODEL_ARCH.GRANITE_HYBRID, hybrid_settings, shapes=hybrid_shapes),
    "gpt_oss": Family("gpt-oss", gguf.MODEL_ARCH.GPT_OSS, gpt_oss_settings, shapes=gpt_oss_shapes),
    "llama": Family("llama", gguf.MODEL_ARCH.LLAMA, llama_settings, neighbours),
    "gemma3_text": Family("gemma3", gguf.MODEL_ARCH.GEMMA3, gemma_settings, added_one),
}
"""By model_type."""


def float_values(checkpoint: Checkpoint, name: str) -> np.ndarray:
    """A tensor's values as float32; bfloat16 is stored as its bits."""
    values = checkpoint.read(name)
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)

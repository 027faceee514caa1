"""Models that transformers does not have, as small changes of its Llama; importing this makes them known to it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM


class MiniCPMConfig(LlamaConfig):
    model_type = "minicpm"
    tie_word_embeddings: bool = True
    scale_emb: float = 1
    scale_depth: float = 1
    dim_model_base: float = 1


class MiniCPMForCausalLM(LlamaForCausalLM):
    """Embeddings, branches and the last norm's result are multiplied as they are made."""

    config_class = MiniCPMConfig

    def __init__(self, config: MiniCPMConfig) -> None:
        super().__init__(config)
        times(self.model.embed_tokens, config.scale_emb)
        times(self.model.norm, config.dim_model_base / config.hidden_size)
        for layer in self.model.layers:
            for branch in (layer.self_attn.o_proj, layer.mlp.down_proj):
                times(branch, config.scale_depth / math.sqrt(config.num_hidden_layers))


def times(module: torch.nn.Module, factor: float) -> None:
    module.register_forward_hook(lambda module, inputs, output: output * factor)


class TelechatConfig(LlamaConfig):
    model_type = "telechat"
    tie_word_embeddings: bool = True
    training_seqlen: int = 8192
    base_seqlen: int = 4096

    def __post_init__(self, **entries: Any) -> None:
        super().__post_init__(**entries)
        head = self.hidden_size // self.num_attention_heads
        alpha = max(2 ** math.ceil(math.log(self.training_seqlen / self.base_seqlen, 2) + 1) - 1, 1)
        self.rope_parameters = {"rope_type": "default", "rope_theta": 10000 * alpha ** (head / (head - 2))}


class TelechatForCausalLM(LlamaForCausalLM):
    """Saved with keys and values in one matrix, k and v of a head side by side, and names of its own."""

    config_class = TelechatConfig
    names = (
        ("model.embed_tokens", "transformer.word_embeddings"), ("model.layers", "transformer.h"),
        ("model.norm", "transformer.ln_f"), ("self_attn.q_proj", "self_attention.query"),
        ("self_attn.o_proj", "self_attention.dense"),
    )  # fmt: skip

    def __init__(self, config: TelechatConfig) -> None:
        super().__init__(config)
        for layer in self.model.layers:
            layer.self_attn.o_proj = torch.nn.Linear(layer.self_attn.o_proj.in_features, config.hidden_size)
            layer.mlp.down_proj = torch.nn.Linear(layer.mlp.down_proj.in_features, config.hidden_size)

    def save_pretrained(self, folder: Path) -> None:
        tensors = {}
        for name, tensor in self.state_dict().items():
            if name.endswith("v_proj.weight") or (name == "lm_head.weight" and self.config.tie_word_embeddings):
                continue
            if name.endswith("k_proj.weight"):
                pairs = [tensor, self.state_dict()[name.replace("k_proj", "v_proj")]]
                heads = [part.unflatten(0, (self.config.num_key_value_heads, -1)) for part in pairs]
                tensor = torch.cat(heads, 1).flatten(0, 1)
                name = name.replace("self_attn.k_proj", "self_attention.key_value")
            for ours, theirs in self.names:
                name = name.replace(ours, theirs)
            tensors[name] = tensor.clone()
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config_entries()), encoding="utf-8")

    def config_entries(self) -> dict[str, Any]:
        config = self.config
        return {
            "model_type": "telechat", "hidden_size": config.hidden_size, "n_layer": config.num_hidden_layers,
            "n_head": config.num_attention_heads, "num_key_value_heads": config.num_key_value_heads,
            "ffn_hidden_size": config.intermediate_size, "layer_norm_epsilon": config.rms_norm_eps,
            "vocab_size": config.vocab_size, "training_seqlen": config.training_seqlen,
            "tie_word_embeddings": config.tie_word_embeddings,
        }  # fmt: skip


class Telechat2Config(TelechatConfig):
    model_type = "telechat2"


class Telechat2ForCausalLM(TelechatForCausalLM):
    config_class = Telechat2Config

    def config_entries(self) -> dict[str, Any]:
        return super().config_entries() | {"model_type": "telechat2", "base_seqlen": self.config.base_seqlen}


for each in (MiniCPMForCausalLM, TelechatForCausalLM, Telechat2ForCausalLM):
    AutoConfig.register(each.config_class.model_type, each.config_class)
    AutoModelForCausalLM.register(each.config_class, each)

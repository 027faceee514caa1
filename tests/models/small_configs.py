"""Each architecture with a small config: what it asks for besides that of small_graphs.py."""

from __future__ import annotations

import importlib
from typing import Any

import ftllm_nb.models
from ftllm_nb.blocks import TextPart
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.graph.ir import CheckedGraph
from ftllm_nb.models import graph_class, supported_architectures
from tests.graph.small_graphs import Header


def checked(config: dict[str, Any]) -> CheckedGraph:
    """The graph on a checkpoint that holds exactly what the architecture declares."""
    graph = build_graph(graph_class(config), config)
    return check_graph(graph, {name: Header(shape) for name, shape in graph.weight_shapes().items()})


CLASSES = {
    name: importlib.import_module(f"{ftllm_nb.models.__name__}.{name}").__model__ for name in supported_architectures()
}
TEXT_PARTS = {name: each for name, each in CLASSES.items() if issubclass(each, TextPart)}
"""Those that compute a part of a folder; test_text_parts.py has their tests."""
DECODERS = [name for name in CLASSES if name not in TEXT_PARTS]
"""The others, whose config.json describes what they compute."""
LLAMAS = ["llama", "qwen2"]
"""The architectures that differ in nothing but biases and windows."""
GEMMA = {"query_pre_attn_scalar": 4, "sliding_window": 20}
LATENT = {"q_lora_rank": 10, "kv_lora_rank": 12, "qk_nope_head_dim": 4, "qk_rope_head_dim": 6, "v_head_dim": 8}
EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
ROUTED = {
    "n_routed_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 20, "n_shared_experts": 1,
    "first_k_dense_replace": 1,
}  # fmt: skip
ATTENDING = {"layer_types": ["full_attention"] * 2}
SHORT = ATTENDING | {"rms_norm_eps": None, "norm_eps": 1e-5}
MORE: dict[str, dict[str, Any]] = {
    "lfm2": SHORT,
    "lfm2_moe": SHORT | EXPERTS,
    "lfm3": SHORT | {"head_dim": 8},
    "granitemoehybrid": ATTENDING | EXPERTS | {"mamba_n_heads": 2, "shared_intermediate_size": 12},
    "bamba": ATTENDING | {"mamba_n_heads": 2},
    "falcon_h1": {"mamba_n_heads": 2},
    "zamba2": {"layer_types": ["hybrid"] * 2, "n_mamba_heads": 2, "head_dim": None},
    "mamba2": {"num_heads": 2, "n_groups": 1, "rms_norm_eps": None, "head_dim": None},
    "nemotron_h": ROUTED | ATTENDING,
    "qwen3_next": ATTENDING | EXPERTS,
    "qwen3_5_text": ATTENDING,
    "olmo_hybrid": ATTENDING,
    "kimi_linear": ATTENDING | EXPERTS | LATENT | {"first_k_dense_replace": 1},
    "qwen3_5_moe_text": ATTENDING | EXPERTS,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "exaone4": {"layer_types": ["full_attention"] * 2},
    "cohere2": {"rms_norm_eps": None, "layer_norm_eps": 1e-5},
    "starcoder2": {"rms_norm_eps": None, "norm_epsilon": 1e-5},
    "llama4_text": {"moe_layers": [], "intermediate_size_mlp": 40},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt2": {"rms_norm_eps": None},
    "phi": {"rms_norm_eps": None, "head_dim": 8},
    "stablelm": {"rms_norm_eps": None, "head_dim": 8},
    "gpt_neox": {"rms_norm_eps": None, "layer_norm_eps": 1e-5, "head_dim": 8},
    "minicpm3": LATENT,
    "qwen3_moe": EXPERTS,
    "mixtral": EXPERTS,
    "qwen2_moe": EXPERTS,
    "gpt_oss": EXPERTS,
    "olmoe": EXPERTS,
    "granitemoe": EXPERTS,
    "minimax_m2": EXPERTS,
    "phimoe": EXPERTS,
    "laguna": EXPERTS | {"head_dim": 8},
    "hunyuan_v1_moe": EXPERTS | {"moe_topk": 2},
    "ernie4_5_moe": {"moe_num_experts": 3, "moe_k": 2, "moe_intermediate_size": 20},
    "glm4_moe": ROUTED,
    "deepseek_v2": LATENT | ROUTED,
    "deepseek_v3": LATENT | ROUTED | {"n_group": 1, "topk_group": 1},
    "glm4_moe_lite": LATENT | ROUTED,
}
"""What an architecture asks for besides CONFIG."""

"""config.json with each entry that an architecture reads set to something odd: one sentence, or a right answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from ftllm_nb.errors import FtllmError
from ftllm_nb.graph.build import build_graph
from ftllm_nb.graph.check import check_graph
from ftllm_nb.models import graph_class
from tests.graph.small_graphs import CONFIG, Header
from tests.models.small_configs import DECODERS, MORE

ODD: tuple[Any, ...] = (None, "text", "", "8", -1, 0, 0.5, 10**40, 1e300, float("inf"), float("nan"), True, False, [],
                        [1], ["a"], {}, {"a": {"b": 1}}, [[]], {"rope_type": {}}, {"factor": "x"})  # fmt: skip
SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size")
OPTIONAL_SIZES = ("head_dim", "num_key_value_heads")
FLAGS = ("attention_bias", "mlp_bias", "tie_word_embeddings", "use_sliding_window")
ROPE = ("rope_scaling", "rope_parameters")
SCALED = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [2.0, 3.0]}
INTERNAL = re.compile(r"Error\b|Exception|Traceback|object at 0x|NoneType|unhashable|not subscriptable")
STRICT = ("llama", "qwen2")
"""Architectures of which it is said here what may be right."""
NOT_READ = {("llama", name) for name in ("use_sliding_window", "max_window_layers", "sliding_window")}
NOT_READ |= {("qwen2", "attention_bias")}
"""Entries that an architecture does not have."""
LATENT = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
FACTORS = ("scale_emb", "scale_depth", "dim_model_base")
TELECHAT = ("n_layer", "n_head", "ffn_hidden_size", "layer_norm_epsilon", "training_seqlen", "base_seqlen",
            "embed_layernorm", "apply_residual_connection_post_layernorm")  # fmt: skip
EXPERTS = ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob")
ROUTED = (*EXPERTS[1:], "n_routed_experts", "n_shared_experts", "n_group", "topk_group", "first_k_dense_replace",
          "moe_layer_freq", "mlp_layer_types", "routed_scaling_factor", "scoring_func")  # fmt: skip
QWEN = (*EXPERTS, "decoder_sparse_step", "mlp_only_layers")
OWN_ENTRIES: dict[str, tuple[str, ...]] = {
    "gpt2": ("n_embd", "n_layer", "n_head", "n_positions", "n_inner", "activation_function", "layer_norm_epsilon",
             "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "add_cross_attention"),
    "stablelm": ("use_qkv_bias", "use_parallel_residual", "qk_layernorm", "layer_norm_eps"),
    "gpt_neox": ("rotary_pct", "rotary_emb_base", "use_parallel_residual", "layer_norm_eps"),
    "minicpm": (*FACTORS, "num_experts", "sparse_config"),
    "minicpm3": (*FACTORS, *LATENT, "mscale_all_dim"),
    "telechat": TELECHAT,
    "olmo_hybrid": ("linear_num_key_heads", "linear_key_head_dim", "linear_conv_kernel_dim", "linear_allow_neg_eigval"),
    "kimi_linear": ("linear_attn_config", "mla_use_nope", "model_max_length", "moe_renormalize", "num_shared_experts"),
    "telechat2": TELECHAT,
}
"""What each architecture reads besides."""
MIXTURES: dict[str, tuple[str, ...]] = {
    "qwen3_moe": QWEN,
    "qwen2_moe": (*QWEN, "qkv_bias", "shared_expert_intermediate_size"),
    "gpt_oss": (*EXPERTS, "swiglu_limit", "swiglu_alpha"),
    "olmoe": EXPERTS,
    "minimax_m2": (*EXPERTS, "rotary_dim", "use_qk_norm"),
    "hunyuan_v1_moe": (*EXPERTS, "moe_topk", "num_shared_expert", "moe_layer_num_skipped"),
    "ernie4_5_moe": ("moe_num_experts", "moe_k", "moe_intermediate_size", "moe_num_shared_experts", "moe_norm_min",
                     "moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval", "use_bias"),
    "laguna": (*EXPERTS, "gating", "num_attention_heads_per_layer", "moe_routed_scaling_factor", "mlp_layer_types",
               "moe_router_logit_softcapping", "moe_apply_router_weight_on_input", "shared_expert_intermediate_size"),
    "llama4_text": ("num_local_experts", "num_experts_per_tok", "moe_layers", "interleave_moe_layer_step"),
    "gemma4_text": ("enable_moe_block", "num_experts", "top_k_experts", "moe_intermediate_size"),
    "deepseek_v2": (*ROUTED, *LATENT, "topk_method"),
    "deepseek_v3": (*ROUTED, *LATENT, "rope_interleave"),
    "glm4_moe_lite": ROUTED,
    "glm4_moe": (*ROUTED, "use_qk_norm"),
}
"""What those with experts read besides: much of it alike, so that all values meet each of them, but not each pair."""
SLIDING = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}


def harmless(architecture: str, name: str, value: Any) -> bool:
    """Whether a model may be made all the same: what means the same as an absent entry, and what is right."""
    if architecture not in STRICT:
        return True  # what reads which entry is its own test's matter
    if (architecture, name) in NOT_READ:
        return True
    if value is None:
        return name not in (*SIZES, "model_type", "max_position_embeddings")
    if name in FLAGS:
        return isinstance(value, bool)
    if name in ("rms_norm_eps", "rope_theta", "rope_factor", "rope_base", "partial_rotary_factor"):
        return value == 0.5
    if name in ROPE:
        return value in ({}, {"factor": "x"})  # no type is the default one, and a note says what it does not use
    return (name, value) in (("max_window_layers", 0), ("max_window_layers", 10**40), ("sliding_window", 10**40))


def odd_configs(architecture: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(id, config, whether it may be right)."""
    names = (*SIZES, *OPTIONAL_SIZES, *FLAGS, *ROPE, "model_type", "hidden_act", "rms_norm_eps", "rope_theta",
             "rope_factor", "rope_base", "partial_rotary_factor", "max_position_embeddings", "max_positions",
             "layer_types", "sliding_window", "max_window_layers")  # fmt: skip
    config = CONFIG | {"model_type": architecture} | SLIDING | MORE.get(architecture, {})
    for number, name in enumerate(names):
        # All values meet each name, and each architecture, but not each pair of them.
        for value in ODD if architecture in STRICT else ODD[(number + DECODERS.index(architecture)) % 10 :: 10]:
            yield f"{name}={value!r:.20}", config | {name: value}, harmless(architecture, name, value)
    for section, keys in (
        (SCALED, ("rope_type", "factor", "original_max_position_embeddings", "attention_factor", "beta_fast",
                  "beta_slow", "mscale", "mscale_all_dim", "truncate", "rope_theta", "partial_rotary_factor")),
        (LONG, ("short_factor", "long_factor", "factor", "attention_factor")),
    ):  # fmt: skip
        for name in keys if architecture in STRICT else ():
            for value in ODD:
                odd = config | {"rope_parameters": {**section, name: value}}
                yield f"{section['rope_type']} {name}={value!r:.20}", odd, True
    for name in OWN_ENTRIES.get(architecture, ()):
        for value in ODD:
            yield f"{name}={value!r:.20}", config | {name: value}, True
    for number, name in enumerate(MIXTURES.get(architecture, ())):
        for value in ODD[number % 4 :: 4]:
            yield f"{name}={value!r:.20}", config | {name: value}, True


@pytest.mark.parametrize("architecture", DECODERS)
def test_one_sentence_or_a_model(architecture: str) -> None:
    """All in one test: there are thousands, of a millisecond each."""
    plain = CONFIG | {"model_type": architecture} | MORE.get(architecture, {})
    tensors = {
        name: Header(shape) for name, shape in build_graph(graph_class(plain), plain).weight_shapes().items()
    }
    for case, config, may_pass in odd_configs(architecture):
        try:
            check_graph(build_graph(graph_class(config), config), tensors)
        except FtllmError as error:
            sentence = re.sub(r"'[^']*'", "", str(error))
            assert not INTERNAL.search(sentence), (case, str(error))
            assert str(error).endswith((".", "?")) and str(error).isprintable(), (case, str(error))
            assert len(str(error)) < 600, (case, str(error))
        else:
            assert may_pass, case

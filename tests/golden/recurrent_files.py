"""GGUF files of models with recurrent layers as llama.cpp has them, of seeded numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.gguf_files import Tensor, Typed, floats

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, LAYERS = 32, 64, 4, 2, 8, 64, 4
KEY_HEADS, VALUE_HEADS, STATE, TAPS, EXPERTS = 2, 6, 8, 4, 4
MAMBA_HEADS, MAMBA_STATE, GROUPS = 8, 12, 2
TOKENS = np.random.default_rng(5).integers(3, VOCABULARY, 40).astype(np.int32)
"""What the models read: all but the last at once, then that one."""

Shapes = dict[str, tuple[int, ...]]

QWEN_ATTENTION: Shapes = {
    "attn_q.weight": (2 * HEADS * HEAD_DIM, HIDDEN), "attn_k.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
    "attn_v.weight": (KV_HEADS * HEAD_DIM, HIDDEN), "attn_output.weight": (HIDDEN, HEADS * HEAD_DIM),
    "attn_q_norm.weight": (HEAD_DIM,), "attn_k_norm.weight": (HEAD_DIM,),
}  # fmt: skip
PLAIN_ATTENTION: Shapes = {
    "attn_q.weight": (HEADS * HEAD_DIM, HIDDEN), "attn_k.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
    "attn_v.weight": (KV_HEADS * HEAD_DIM, HIDDEN), "attn_output.weight": (HIDDEN, HEADS * HEAD_DIM),
}  # fmt: skip
NORMED_ATTENTION = PLAIN_ATTENTION | {"attn_q_norm.weight": (HEAD_DIM,), "attn_k_norm.weight": (HEAD_DIM,)}
_KEYS, _VALUES = KEY_HEADS * STATE, VALUE_HEADS * STATE
DELTA_NET: Shapes = {
    "attn_qkv.weight": (2 * _KEYS + _VALUES, HIDDEN), "attn_gate.weight": (_VALUES, HIDDEN),
    "ssm_conv1d.weight": (2 * _KEYS + _VALUES, TAPS), "ssm_dt.bias": (VALUE_HEADS,), "ssm_a": (VALUE_HEADS,),
    "ssm_norm.weight": (STATE,), "ssm_out.weight": (HIDDEN, _VALUES),
}  # fmt: skip
APART: Shapes = {"ssm_alpha.weight": (VALUE_HEADS, HIDDEN), "ssm_beta.weight": (VALUE_HEADS, HIDDEN)}
NEXT = DELTA_NET | {"ssm_ba.weight": (2 * VALUE_HEADS, HIDDEN)}
OLDER_NEXT = {name: shape for name, shape in NEXT.items() if not name.startswith("attn_")} | {
    "ssm_in.weight": (2 * (_KEYS + _VALUES), HIDDEN),
}
SHORT_CONVOLUTION: Shapes = {
    "shortconv.conv.weight": (HIDDEN, 3), "shortconv.in_proj.weight": (3 * HIDDEN, HIDDEN),
    "shortconv.out_proj.weight": (HIDDEN, HIDDEN),
}  # fmt: skip
_CHANNELS = 2 * HIDDEN + 2 * GROUPS * MAMBA_STATE
MAMBA: Shapes = {
    "ssm_in.weight": (2 * HIDDEN + _CHANNELS + MAMBA_HEADS, HIDDEN), "ssm_conv1d.weight": (_CHANNELS, TAPS),
    "ssm_conv1d.bias": (_CHANNELS,), "ssm_dt.bias": (MAMBA_HEADS,),
    "ssm_a": (MAMBA_HEADS, 1), "ssm_d": (MAMBA_HEADS, 1), "ssm_norm.weight": (GROUPS, 2 * HIDDEN // GROUPS),
    "ssm_out.weight": (HIDDEN, 2 * HIDDEN),
}  # fmt: skip
DENSE: Shapes = {
    "ffn_gate.weight": (INNER, HIDDEN), "ffn_up.weight": (INNER, HIDDEN), "ffn_down.weight": (HIDDEN, INNER),
}  # fmt: skip
MIXTURE: Shapes = {
    "ffn_gate_inp.weight": (EXPERTS, HIDDEN), "ffn_gate_exps.weight": (EXPERTS, INNER, HIDDEN),
    "ffn_up_exps.weight": (EXPERTS, INNER, HIDDEN), "ffn_down_exps.weight": (EXPERTS, HIDDEN, INNER),
}  # fmt: skip
SHARED: Shapes = {
    "ffn_gate_shexp.weight": (INNER, HIDDEN), "ffn_up_shexp.weight": (INNER, HIDDEN),
    "ffn_down_shexp.weight": (HIDDEN, INNER),
}  # fmt: skip
GATED_SHARED = SHARED | {"ffn_gate_inp_shexp.weight": (HIDDEN,)}
GUESSING: Shapes = QWEN_ATTENTION | DENSE | {
    "nextn.eh_proj.weight": (HIDDEN, 2 * HIDDEN), "nextn.enorm.weight": (HIDDEN,), "nextn.hnorm.weight": (HIDDEN,),
    "nextn.shared_head_norm.weight": (HIDDEN,),
}  # fmt: skip
DELTA_ENTRIES = {
    "ssm.conv_kernel": TAPS, "ssm.state_size": STATE, "ssm.group_count": KEY_HEADS,
    "ssm.time_step_rank": VALUE_HEADS, "ssm.inner_size": _VALUES, "attention.key_length": HEAD_DIM,
    "attention.value_length": HEAD_DIM, "rope.dimension_count": HEAD_DIM // 2,
}  # fmt: skip
SECTIONS = {"rope.dimension_sections": Typed("i32[]", [1, 1, 0, 0])}
EXPERT_ENTRIES = {"expert_count": EXPERTS, "expert_used_count": 2, "expert_feed_forward_length": INNER}
SHARED_ENTRIES = EXPERT_ENTRIES | {"expert_shared_feed_forward_length": INNER}
ONE_ATTENDS = {"attention.head_count_kv": Typed("i32[]", [0, KV_HEADS, 0, 0])}
HYBRID_ENTRIES: dict[str, Any] = ONE_ATTENDS | {
    "ssm.conv_kernel": TAPS, "ssm.state_size": MAMBA_STATE, "ssm.group_count": GROUPS, "ssm.inner_size": 2 * HIDDEN,
    "ssm.time_step_rank": MAMBA_HEADS, "attention.scale": 0.3, "embedding_scale": 3.0, "residual_scale": 0.4,
    "logit_scale": 2.0, "rope.dimension_count": HEAD_DIM,
}  # fmt: skip


MAMBA_ENTRIES = {name: value for name, value in HYBRID_ENTRIES.items() if name.startswith("ssm.")}
SHARED_UNGATED = {name: shape for name, shape in (MIXTURE | SHARED).items() if "ffn_gate_" not in name}
NEMOTRON_MIXTURE: Shapes = {
    "ffn_gate_inp.weight": (EXPERTS, HIDDEN), "exp_probs_b.bias": (EXPERTS,), **SHARED_UNGATED,
}  # fmt: skip
UNGATED = {name: shape for name, shape in DENSE.items() if "gate" not in name}
_WIDTH, _LATENT, _TURNING, _VALUE = HEADS * STATE, 16, 4, 10
CHANNELS: Shapes = {
    **{f"attn_{part}.weight": (_WIDTH, HIDDEN) for part in "qkv"}, "attn_output.weight": (HIDDEN, _WIDTH),
    **{f"ssm_conv1d_{part}.weight": (_WIDTH, 1, TAPS) for part in "qkv"},
    **{f"ssm_{part}_a.weight": (STATE, HIDDEN) for part in "fg"},
    **{f"ssm_{part}_b.weight": (_WIDTH, STATE) for part in "fg"},
    "ssm_beta.weight": (HEADS, HIDDEN), "ssm_a": (HEADS, 1), "ssm_dt.bias": (_WIDTH,), "ssm_norm.weight": (STATE,),
}  # fmt: skip
LATENT: Shapes = {
    "attn_q.weight": (HEADS * (STATE + _TURNING), HIDDEN), "attn_kv_a_mqa.weight": (_LATENT + _TURNING, HIDDEN),
    "attn_kv_a_norm.weight": (_LATENT,), "attn_k_b.weight": (HEADS, _LATENT, STATE),
    "attn_v_b.weight": (HEADS, _VALUE, _LATENT), "attn_output.weight": (HIDDEN, HEADS * _VALUE),
}  # fmt: skip
KIMI_ENTRIES = EXPERT_ENTRIES | {
    "attention.head_count_kv": Typed("i32[]", [0, 1, 0, 0]), "attention.kv_lora_rank": _LATENT,
    "attention.key_length": _LATENT + _TURNING, "attention.value_length": _LATENT,
    "attention.key_length_mla": STATE + _TURNING, "attention.value_length_mla": _VALUE,
    "rope.dimension_count": _TURNING, "ssm.conv_kernel": TAPS, "kda.head_dim": STATE, "expert_shared_count": 1,
    "leading_dense_block_count": 1, "expert_weights_scale": 2.5, "expert_weights_norm": True, "expert_gating_func": 2,
    "expert_group_count": 1, "expert_group_used_count": 1,
}  # fmt: skip
KINDS_OF_NEMOTRON = {"feed_forward_length": Typed("i32[]", [0, 0, INNER, 0]), "attention.key_length": HEAD_DIM,
                     "attention.value_length": HEAD_DIM, "attention.layer_norm_epsilon": 1e-6}  # fmt: skip


def _qwen(mixer: Shapes, feed_forward: Shapes, attends: tuple[int, ...]) -> list[Shapes]:
    both = {"post_attention_norm.weight": (HIDDEN,), **feed_forward}
    return [(QWEN_ATTENTION if layer in attends else mixer) | both for layer in range(LAYERS)]


def _second_attends(mixer: Shapes, attention: Shapes, *feed_forwards: Shapes) -> list[Shapes]:
    return [
        (attention if layer == 1 else mixer)
        | {"ffn_norm.weight": (HIDDEN,)}
        | feed_forwards[min(layer, len(feed_forwards) - 1)]
        for layer in range(LAYERS)
    ]


MODELS: dict[str, tuple[str, Mapping[str, Any], list[Shapes]]] = {
    "qwen35": (
        "qwen35", DELTA_ENTRIES | SECTIONS | {"full_attention_interval": 2},
        _qwen(DELTA_NET | APART, DENSE, (1, 3)),
    ),
    "qwen35 that guesses": (
        "qwen35", DELTA_ENTRIES | SECTIONS | {"nextn_predict_layers": 1, "block_count": LAYERS + 1},
        [*_qwen(DELTA_NET | APART, DENSE, (3,)), GUESSING | {"post_attention_norm.weight": (HIDDEN,)}],
    ),
    "qwen35moe": (
        "qwen35moe", DELTA_ENTRIES | SECTIONS | SHARED_ENTRIES, _qwen(DELTA_NET | APART, MIXTURE | GATED_SHARED, (3,)),
    ),
    "qwen3next": (
        "qwen3next", DELTA_ENTRIES | SHARED_ENTRIES,
        _qwen(NEXT, MIXTURE | GATED_SHARED, (3,)),
    ),
    "qwen3next, older": (
        "qwen3next", DELTA_ENTRIES | SHARED_ENTRIES,
        _qwen(OLDER_NEXT, MIXTURE | GATED_SHARED, (3,)),
    ),
    "lfm2": (
        "lfm2", ONE_ATTENDS | {"shortconv.l_cache": 3}, _second_attends(SHORT_CONVOLUTION, NORMED_ATTENTION, DENSE),
    ),
    "lfm2moe": (
        "lfm2moe",
        ONE_ATTENDS | EXPERT_ENTRIES
        | {"shortconv.l_cache": 3, "expert_gating_func": 2, "leading_dense_block_count": 1},
        _second_attends(SHORT_CONVOLUTION, NORMED_ATTENTION, DENSE, MIXTURE | {"exp_probs_b.bias": (EXPERTS,)}),
    ),
    "granitehybrid": (
        "granitehybrid", HYBRID_ENTRIES | {"rope.scaling.finetuned": False},
        _second_attends(MAMBA, PLAIN_ATTENTION, DENSE),
    ),
    "granitehybrid with experts": (
        "granitehybrid", HYBRID_ENTRIES | SHARED_ENTRIES | {"rope.scaling.finetuned": True},
        _second_attends(MAMBA, PLAIN_ATTENTION, MIXTURE | SHARED),
    ),
    "mamba2": (
        "mamba2",
        MAMBA_ENTRIES | {"attention.head_count": 0, "attention.head_count_kv": 0, "feed_forward_length": 0},
        [MAMBA] * LAYERS,
    ),
    "nemotron_h": (
        "nemotron_h", MAMBA_ENTRIES | ONE_ATTENDS | KINDS_OF_NEMOTRON, [MAMBA, PLAIN_ATTENTION, UNGATED, MAMBA],
    ),
    "nemotron_h_moe": (
        "nemotron_h_moe",
        MAMBA_ENTRIES | ONE_ATTENDS | KINDS_OF_NEMOTRON | SHARED_ENTRIES
        | {"expert_shared_count": 1, "expert_weights_norm": True, "expert_weights_scale": 1.5, "expert_group_count": 1},
        [MAMBA, PLAIN_ATTENTION, NEMOTRON_MIXTURE, MAMBA],
    ),
    "kimi-linear": (
        "kimi-linear", KIMI_ENTRIES,
        _second_attends(CHANNELS, LATENT, DENSE, MIXTURE | SHARED | {"exp_probs_b.bias": (EXPERTS,)}),
    ),
    "falcon-h1": (
        "falcon-h1", MAMBA_ENTRIES | {"attention.key_length": HEAD_DIM, "attention.value_length": HEAD_DIM},
        [MAMBA | PLAIN_ATTENTION | {"ffn_norm": (HIDDEN,)} | DENSE] * LAYERS,
    ),
}  # fmt: skip
"""By a name of the kind: the architecture, its own entries, and the tensors of each layer."""


def _numbers(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Norms about one, decays below zero, matrices that keep what they read as large as it is."""
    values = np.random.default_rng((seed, *map(ord, name))).standard_normal(shape, np.float32)
    if name.endswith(("norm.weight", "ffn_norm")):
        return 1 + 0.2 * values
    if name.endswith("ssm_a"):
        return -np.exp(values)
    return values if len(shape) == 1 else values / np.float32(shape[-1] ** 0.5)


def file_of(kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Metadata and tensors of a file."""
    architecture, own, layers = MODELS[kind]
    entries: dict[str, Any] = {
        "block_count": LAYERS, "context_length": 128, "embedding_length": HIDDEN, "feed_forward_length": INNER,
        "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS, "rope.freq_base": 500.0,
        "attention.layer_norm_rms_epsilon": 1e-6, "vocab_size": VOCABULARY, **own,
    }  # fmt: skip
    metadata = {"general.architecture": architecture, "tokenizer.ggml.model": "none"}
    metadata |= {f"{architecture}.{name}": value for name, value in entries.items()}
    norm = "token_embd_norm.weight" if architecture.startswith("lfm2") else "output_norm.weight"
    shapes: Shapes = {"token_embd.weight": (VOCABULARY, HIDDEN), norm: (HIDDEN,)}
    if architecture == "kimi-linear":  # which llama.cpp takes with a matrix for logits alone
        shapes["output.weight"] = (VOCABULARY, HIDDEN)
    for number, layer in enumerate(layers):
        shapes |= {f"blk.{number}.{name}": shape for name, shape in {"attn_norm.weight": (HIDDEN,), **layer}.items()}
    return metadata, {name: floats(_numbers(name, shape, len(kind))) for name, shape in shapes.items()}

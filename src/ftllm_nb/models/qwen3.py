"""Qwen3's dense models: Llama with norms of each query and key head, and layers that may slide."""

from __future__ import annotations

from ftllm_nb.blocks import QwenDecoder


class Qwen3Model(QwenDecoder):
    """The graph of `Qwen3ForCausalLM`."""

    default_head_dim = 128
    head_norms = ("q_norm", "k_norm")


__model__ = Qwen3Model

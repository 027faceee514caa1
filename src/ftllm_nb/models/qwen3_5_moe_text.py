"""Qwen3.5's mixtures of experts: gated delta nets and attention, each before a mixture."""

from __future__ import annotations

from ftllm_nb.blocks import MixtureDecoder
from ftllm_nb.models.qwen3_5_text import Qwen35Model


class Qwen35MoeModel(MixtureDecoder, Qwen35Model):
    """The graph of `Qwen3_5MoeForCausalLM`: experts of which all layers have some, and one for all tokens."""

    shared = "shared_expert"
    shared_gate = "shared_expert_gate"
    shared_entry = ("shared_expert_intermediate_size", 512)
    is_stacked = True


__model__ = Qwen35MoeModel

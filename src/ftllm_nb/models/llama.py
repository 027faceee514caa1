"""Llama 1 to 3.2 and models of its form: grouped-query attention, gated feed-forward layers."""

from __future__ import annotations

from ftllm_nb.blocks import WholeHeadsDecoder


class LlamaModel(WholeHeadsDecoder):
    """The graph of `LlamaForCausalLM`."""


__model__ = LlamaModel

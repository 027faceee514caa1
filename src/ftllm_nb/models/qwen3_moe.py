"""Qwen3's mixtures of experts: Qwen3 with a router and experts in place of most feed-forwards."""

from __future__ import annotations

from ftllm_nb.blocks import QwenMixtureDecoder
from ftllm_nb.models.qwen3 import Qwen3Model


class Qwen3MoeModel(QwenMixtureDecoder, Qwen3Model):
    """The graph of `Qwen3MoeForCausalLM`."""


__model__ = Qwen3MoeModel

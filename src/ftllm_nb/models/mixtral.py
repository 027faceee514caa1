"""Mixtral: Mistral with eight experts in each layer, of which two are chosen (Mistral AI, 2024)."""

from __future__ import annotations

from dataclasses import replace

from ftllm_nb.blocks import MixtureDecoder
from ftllm_nb.models.mistral import MistralModel


class MixtralModel(MixtureDecoder, MistralModel):
    """The graph of `MixtralForCausalLM`."""

    names = replace(MistralModel.names, feed_forward="block_sparse_moe")
    expert_parts = ("w1", "w3", "w2")
    expert_entry = "intermediate_size"


__model__ = MixtralModel

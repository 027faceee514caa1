"""Granite 3's mixtures of experts: Granite with experts, whose weights are the softmax of those that are chosen."""

from __future__ import annotations

from dataclasses import replace

from ftllm_nb.blocks import RAW, MixtureDecoder
from ftllm_nb.models.granite import GraniteModel
from ftllm_nb.ops.select_expert import NORM_SOFTMAX


class GraniteMoeModel(MixtureDecoder, GraniteModel):
    """The graph of `GraniteMoeForCausalLM`."""

    names = replace(GraniteModel.names, feed_forward="block_sparse_moe")
    router = "router.layer"
    expert_entry = "intermediate_size"
    scores = RAW
    normalizes = NORM_SOFTMAX
    stacks = ("input_linear.weight", "output_linear.weight")
    is_stacked = True


__model__ = GraniteMoeModel

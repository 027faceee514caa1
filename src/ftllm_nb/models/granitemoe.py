"""Granite 3's mixtures of experts: Granite with experts, whose weights are the softmax of those that are chosen."""

from __future__ import annotations

from dataclasses import replace

from ftllm_nb.blocks import RAW, MixtureDecoder
from ftllm_nb.models.granite import GraniteModel


class GraniteMoeModel(MixtureDecoder, GraniteModel):
    """The graph of `GraniteMoeForCausalLM`."""

    names = replace(GraniteModel.names, feed_forward="block_sparse_moe")
    router = "router.layer"
    scores = RAW
    stacks = ("input_linear.weight", "output_linear.weight")
    is_stacked = True

    @property
    def normalizes(self) -> int:
        """The softmax of those that are chosen."""
        return 2

    @property
    def expert_size(self) -> int:
        """As a feed-forward's."""
        return super().inner_size


__model__ = GraniteMoeModel

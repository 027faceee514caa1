"""Bamba: Mamba-2 in most layers, attention that turns half of each head in some, and a feed-forward after each."""

from __future__ import annotations

from ftllm_nb.blocks import MambaDecoder, Names


class BambaModel(MambaDecoder):
    """The graph of `BambaForCausalLM`."""

    attending_entry = "attn_layer_indices"
    names = Names(norm="final_layernorm", feed_forward="feed_forward", before_feed_forward="pre_ff_layernorm")
    turning_part = 0.5
    default_eps = 1e-5


__model__ = BambaModel

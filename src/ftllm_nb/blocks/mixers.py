"""Decoders whose layers are one branch each, with Mamba-2 in some or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks.mamba import MambaDecoder
from ftllm_nb.blocks.names import Names


class MixerDecoder(MambaDecoder):
    """A `MambaDecoder` with hidden += mixer(norm(hidden)) as a layer, whatever its mixer is."""

    prefix = "backbone."
    recurrent_names = "mixer"
    names = Names(
        embedding="embeddings", norm="norm_f", attention="mixer", feed_forward="mixer", before_attention="norm",
        before_feed_forward=None,
    )  # fmt: skip
    default_eps = 1e-5
    entry_names: ClassVar[Mapping[str, str]] = {
        "rms_norm_eps": "layer_norm_epsilon", "mamba_n_groups": "n_groups", "mamba_d_conv": "conv_kernel",
        "mamba_conv_bias": "use_conv_bias", "mamba_proj_bias": "use_bias",
    }  # fmt: skip
    usual_sizes: ClassVar[Mapping[str, int]] = {
        "mamba_n_heads": 128, "mamba_d_head": 64, "mamba_n_groups": 8, "mamba_d_state": 128, "mamba_d_conv": 4,
        "mamba_expand": 2,
    }  # fmt: skip

    def layer(self, number: int, at: str) -> None:
        """hidden += mixer(norm(hidden))."""
        read = self.normed("hidden", at, self.names.before_attention, "x")
        self.mixer(number, f"{at}{self.names.attention}.", read, "branch")
        self.add_branch("branch")

    def mixer(self, number: int, at: str, source: str, target: str) -> None:
        """Attention, or what is recurrent in its place; in layers of other kinds a feed-forward."""
        if self.kinds[number] in self.other_kinds:
            self.feed_forward(at, source, target)
        else:
            self.attention(number, at, source, target)

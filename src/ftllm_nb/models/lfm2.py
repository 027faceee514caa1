"""LFM2: short convolutions with gates, and attention in some layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ftllm_nb.blocks import Names, RecurrentDecoder
from ftllm_nb.graph.config_entries import flag, positive_or, whole


class Lfm2Model(RecurrentDecoder):
    """The graph of `Lfm2ForCausalLM`. `usual_taps`: conv_L_cache where the config has none."""

    recurrent_kind = "conv"
    usual_taps: ClassVar[int] = 3
    recurrent_names = "conv"
    ties_by_default = True
    default_eps = 1e-5
    attending_entry: ClassVar[str | None] = "full_attn_idxs"
    head_norms = ("q_layernorm", "k_layernorm")
    names = Names(
        norm="embedding_norm", out="out_proj", feed_forward="feed_forward", gate="w1", up="w3", down="w2",
        before_attention="operator_norm", before_feed_forward="ffn_norm",
    )  # fmt: skip
    entry_names: ClassVar[Mapping[str, str]] = {"rms_norm_eps": "norm_eps", "tie_word_embeddings": "tie_embedding"}

    def read_config(self) -> None:
        """The base of rotations is 1,000,000 where the config has none."""
        if self.config.get("block_ff_dim") is not None:
            self.config["intermediate_size"] = self.config["block_ff_dim"]
        if self.config.get("rope_parameters") is None and self.config.get("rope_theta") is None:
            self.config["rope_theta"] = 1e6
        super().read_config()

    @property
    def inner_size(self) -> int:
        """Two thirds of the config's, where it says so, rounded up."""
        size = super().inner_size
        if not self.adjusts_inner_size:
            return size
        size = 2 * size // 3
        factor = self.config.get("block_ffn_dim_multiplier", 1.0)
        if factor is None:
            return size
        multiple = whole(self.config, "block_multiple_of", 256)
        return -(-int(positive_or(self.config, "block_ffn_dim_multiplier", 1.0) * size) // multiple) * multiple

    @property
    def adjusts_inner_size(self) -> bool:
        """Whether intermediate_size is no feed-forward's size yet."""
        return flag(self.config, "block_auto_adjust_ff_dim", True)

    def recurrent_layer(self, number: int, at: str, source: str, target: str) -> None:
        """out(C · conv(B · x)), of B, C and x side by side."""
        data, size, bias = self.data, self.hidden_size, flag(self.config, "conv_bias", False)
        self.linear(source, f"{at}in_proj", 3 * size, "B.C.x", bias)
        self.split("B.C.x", B=size, C=size, x=size)
        self.MulTo(data["B"], data["x"])
        taps = whole(self.config, "conv_L_cache", self.usual_taps, least=2)
        self.convolve(number, f"{at}conv", "B", taps, bias, silu=False)
        self.MulTo(data["C"], data["B"])
        self.linear("C", f"{at}out_proj", size, target, bias)


__model__ = Lfm2Model

"""GLM-4: norms around each branch, half of each head turns, by neighbours."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder, Names


class Glm4Model(Decoder):
    """The graph of `Glm4ForCausalLM`."""

    turns_neighbours = True
    turning_part = 0.5
    names = Names(after_attention="post_self_attn_layernorm", after_feed_forward="post_mlp_layernorm")

    @property
    def out_bias(self) -> bool:
        """Never."""
        return False

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """gate and up are one matrix."""
        self.fused_feed_forward(at, source, target)


__model__ = Glm4Model

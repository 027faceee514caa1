"""Phi-1, Phi-1.5 and Phi-2: parallel branches on one LayerNorm, half of each head turns, logits have a bias."""

from __future__ import annotations

from ftllm_nb.blocks import LayerNormedDecoder, Names
from ftllm_nb.graph.config_entries import flag


class PhiModel(LayerNormedDecoder):
    """The graph of `PhiForCausalLM`."""

    names = Names(norm="final_layernorm", out="dense", up="fc1", down="fc2", before_feed_forward=None)
    turning_part = 0.5
    default_activation = "gelu_new"
    is_gated = False

    @property
    def qkv_bias(self) -> bool:
        """Always, as all projections."""
        return True

    @property
    def mlp_bias(self) -> bool:
        """Always."""
        return True

    @property
    def is_parallel(self) -> bool:
        """Always."""
        return True

    def turn_heads(self, number: int, at: str) -> None:
        """Normalized before that, where the config says so."""
        if flag(self.config, "qk_layernorm", False):
            for name in ("q", "k"):
                self._sizes[name] = self.head_dim
                self.norm(name, f"{at}{name}_layernorm", name)
        super().turn_heads(number, at)

    def finish_logits(self) -> None:
        """A bias was added to them."""
        self._shapes[f"{self.names.head}.bias"] = (int(self.config["vocab_size"]),)


__model__ = PhiModel

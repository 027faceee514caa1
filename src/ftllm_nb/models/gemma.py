"""Gemma 1: norms with an offset, scaled embeddings, gelu in its tanh form."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder
from ftllm_nb.graph.config_entries import flag


class GemmaModel(Decoder):
    """The graph of `GemmaForCausalLM`."""

    norm_offset = 1.0
    default_activation = "gelu_pytorch_tanh"
    default_head_dim = 256
    ties_by_default = True

    @property
    def embedding_multiplier(self) -> float:
        """The root of their size."""
        return float(self.hidden_size**0.5)

    def check_config(self) -> None:
        """Attention is causal: with use_bidirectional_attention these are models of embeddings."""
        if flag(self.config, "use_bidirectional_attention", False):
            self.refuse_later_tokens("use_bidirectional_attention")
        super().check_config()


__model__ = GemmaModel

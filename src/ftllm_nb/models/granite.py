"""Granite 3 and 4's dense models: Llama with four multipliers."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder
from ftllm_nb.graph.config_entries import positive_or


class GraniteModel(Decoder):
    """The graph of `GraniteForCausalLM`."""

    @property
    def embedding_multiplier(self) -> float:
        """From the config."""
        return positive_or(self.config, "embedding_multiplier", 1.0)

    @property
    def residual_multiplier(self) -> float:
        """From the config."""
        return positive_or(self.config, "residual_multiplier", 1.0)

    @property
    def scale(self) -> float:
        """attention_multiplier, in place of the root of a head's size."""
        return positive_or(self.config, "attention_multiplier", 1.0)

    def finish_logits(self) -> None:
        """Divided by logits_scaling."""
        self.Mul(self.data["logits"], 1 / positive_or(self.config, "logits_scaling", 1.0), self.data["logits"])


__model__ = GraniteModel

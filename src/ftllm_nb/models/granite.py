"""Granite 3 and 4's dense models: Llama with four multipliers."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder
from ftllm_nb.graph.config_entries import positive


class GraniteModel(Decoder):
    """The graph of `GraniteForCausalLM`."""

    @property
    def embedding_multiplier(self) -> float:
        """From the config."""
        return self._number("embedding_multiplier")

    @property
    def residual_multiplier(self) -> float:
        """From the config."""
        return self._number("residual_multiplier")

    @property
    def scale(self) -> float:
        """attention_multiplier, in place of the root of a head's size."""
        return self._number("attention_multiplier")

    def finish_logits(self) -> None:
        """Divided by logits_scaling."""
        self.Mul(self.data["logits"], 1 / self._number("logits_scaling"), self.data["logits"])

    def _number(self, name: str) -> float:
        return positive(self.config, name) if self.config.get(name) is not None else 1.0


__model__ = GraniteModel

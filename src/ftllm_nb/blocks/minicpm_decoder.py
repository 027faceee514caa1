"""What MiniCPM's generations share: three factors, by which widths and depths take one set of learning rates."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.blocks.decoder import Decoder
from ftllm_nb.graph.config_entries import positive


class MiniCPMDecoder(Decoder):
    """A `Decoder` with factors on embeddings, branches and what makes the logits.

    `default_factors`: scale_emb, scale_depth and dim_model_base where the config has none.
    """

    default_factors: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    ties_by_default = True

    @property
    def embedding_multiplier(self) -> float:
        """scale_emb."""
        return self._factor("scale_emb", 0)

    @property
    def residual_multiplier(self) -> float:
        """scale_depth, less for each layer."""
        return float(self._factor("scale_depth", 1) * self.num_layers**-0.5)

    @property
    def output_multiplier(self) -> float:
        """The width that learning rates were tuned on, dim_model_base, in widths of this model."""
        return self._factor("dim_model_base", 2) / self.hidden_size

    def _factor(self, name: str, number: int) -> float:
        return self.default_factors[number] if self.config.get(name) is None else positive(self.config, name)

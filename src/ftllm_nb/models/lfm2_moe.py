"""LFM2's mixtures of experts."""

from __future__ import annotations

from typing import Any

from ftllm_nb.blocks import SIGMOID, MixtureDecoder
from ftllm_nb.graph.config_entries import flag, positive_or, whole
from ftllm_nb.models.lfm2 import Lfm2Model


class Lfm2MoeModel(MixtureDecoder, Lfm2Model):
    """The graph of `Lfm2MoeForCausalLM`: the first layers are dense."""

    scores = SIGMOID
    expert_parts = ("w1", "w3", "w2")

    @property
    def adjusts_inner_size(self) -> bool:
        """Never."""
        return False

    def is_mixture(self, number: int) -> bool:
        """From layer num_dense_layers on."""
        return number >= whole(self.config, "num_dense_layers", 2, least=0)

    def route(self, at: str, source: str) -> None:
        """A vector is added for choosing alone, where use_expert_bias says so."""
        self.correction = "expert_bias" if flag(self.config, "use_expert_bias", True) else None
        super().route(at, source)

    @property
    def normalizes(self) -> int:
        """As norm_topk_prob says."""
        return int(flag(self.config, "norm_topk_prob", True))

    @property
    def routing(self) -> dict[str, Any]:
        """The factor of weights, and what is added to their sum."""
        return {"routeScale": positive_or(self.config, "routed_scaling_factor", 1.0), "epsilon": 1e-6}


__model__ = Lfm2MoeModel

"""ERNIE 4.5's mixtures of experts: a correction chooses, and some experts are for all tokens."""

from __future__ import annotations

from typing import Any

from ftllm_nb.blocks import MixtureDecoder
from ftllm_nb.graph.config_entries import positive_or, whole
from ftllm_nb.graph.references import WeightReference
from ftllm_nb.models.ernie4_5 import Ernie45Model


class Ernie45MoeModel(MixtureDecoder, Ernie45Model):
    """The graph of `Ernie4_5_MoeForCausalLM`."""

    ties_by_default = True
    shared = "shared_experts"
    correction = "moe_statics.e_score_correction_bias"

    def is_mixture(self, number: int) -> bool:
        """Each moe_layer_interval-th layer from moe_layer_start_index to moe_layer_end_index."""
        config, last = self.config, self.num_layers - 1
        end = whole(config, "moe_layer_end_index", -1, least=-1)
        is_within = whole(config, "moe_layer_start_index", 1, least=0) <= number <= (last if end == -1 else end)
        return is_within and (number + 1) % whole(config, "moe_layer_interval", 1) == 0

    @property
    def picks(self) -> int:
        """moe_k."""
        return whole(self.config, "moe_k", 6)

    @property
    def shared_size(self) -> int:
        """moe_num_shared_experts experts side by side."""
        return self.expert_size * whole(self.config, "moe_num_shared_experts", 2, least=0)

    @property
    def routing(self) -> dict[str, Any]:
        """The least sum that weights are divided by."""
        return {"least": positive_or(self.config, "moe_norm_min", 1e-12)}

    def vector(self, name: str, size: int) -> WeightReference:
        """A row of a matrix."""
        self._shapes[name] = (1, size)
        return self.weight[name].reshaped(size)


__model__ = Ernie45MoeModel

"""GLM-4.5 and 4.6: half of each head turns, experts are chosen by sigmoids with a correction."""

from __future__ import annotations

from ftllm_nb.blocks import GroupedMixtureDecoder
from ftllm_nb.graph.config_entries import flag


class Glm4MoeModel(GroupedMixtureDecoder):
    """The graph of `Glm4MoeForCausalLM`."""

    turning_part = 0.5
    first_mixture = 1

    @property
    def out_bias(self) -> bool:
        """Never."""
        return False

    def turn_heads(self, number: int, at: str) -> None:
        """Normalized where use_qk_norm says so, then turned."""
        if flag(self.config, "use_qk_norm", False):
            self.normalize_heads(at, q="q_norm", k="k_norm")
        self.rotate(number, "q", "k")


__model__ = Glm4MoeModel

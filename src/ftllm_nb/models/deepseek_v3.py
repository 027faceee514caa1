"""DeepSeek V3, V3.1 and R1: latent attention, and experts chosen from groups by sigmoids with a correction."""

from __future__ import annotations

from ftllm_nb.blocks import GroupedMixtureDecoder, LatentAttentionDecoder
from ftllm_nb.graph.config_entries import flag


class DeepseekV3Model(GroupedMixtureDecoder, LatentAttentionDecoder):
    """The graph of `DeepseekV3ForCausalLM`."""

    first_mixture = 3
    factor = 2.5
    groups = (8, 4)

    def check_config(self) -> None:
        """Neighbours turn together, unless rope_interleave says otherwise."""
        self.turns_neighbours = flag(self.config, "rope_interleave", True)
        super().check_config()


__model__ = DeepseekV3Model

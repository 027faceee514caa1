"""Mixtures whose experts may read a vector that is shorter than a token's, and write one."""

from __future__ import annotations

from ftllm_nb.blocks.grouped_mixture import GroupedMixtureDecoder


class LatentMixtureDecoder(GroupedMixtureDecoder):
    """A `GroupedMixtureDecoder` whose experts are between two matrices, if the config has a moe_latent_size."""

    def merge_experts(self, at: str, source: str, target: str) -> None:
        """target = the second matrix's product with what the chosen experts make of the first one's."""
        if self.config.get("moe_latent_size") is None:
            super().merge_experts(at, source, target)
            return
        self.linear(source, f"{at}fc1_latent_proj", self.size("moe_latent_size"), "latent", self.mlp_bias)
        super().merge_experts(at, "latent", "merged")
        self.linear("merged", f"{at}fc2_latent_proj", self.hidden_size, target, self.mlp_bias)

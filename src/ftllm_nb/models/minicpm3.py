"""MiniCPM 3: MiniCPM with multi-head latent attention."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import LatentAttentionDecoder, MiniCPMDecoder


class MiniCPM3Model(LatentAttentionDecoder, MiniCPMDecoder):
    """The graph of `MiniCPM3ForCausalLM`."""

    default_factors = (12.0, 1.4, 256.0)

    @cached_property
    def value_dim(self) -> int:
        """As a head of ordinary attention, where the config does not say."""
        return self.hidden_size // self.heads if self.config.get("v_head_dim") is None else self.size("v_head_dim")


__model__ = MiniCPM3Model

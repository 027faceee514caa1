"""Phi-3 and Phi-4-mini: Llama with fused projections, and a part of each head that turns."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import Decoder, given_window


class Phi3Model(Decoder):
    """The graph of `Phi3ForCausalLM`."""

    @cached_property
    def windows(self) -> list[int | None]:
        """One for all layers."""
        return [given_window(self)] * self.num_layers

    @property
    def qkv_bias(self) -> bool:
        """Never."""
        return False

    def project_heads(self, at: str, source: str) -> None:
        """q, k and v are rows of one matrix."""
        self.project_fused_heads(f"{at}qkv_proj", source)

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """gate and up are one matrix."""
        self.fused_feed_forward(at, source, target)


__model__ = Phi3Model

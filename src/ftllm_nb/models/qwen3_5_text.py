"""Qwen3.5's dense models: gated delta nets, and attention in every fourth layer."""

from __future__ import annotations

from ftllm_nb.blocks import DeltaNetDecoder


class Qwen35Model(DeltaNetDecoder):
    """The graph of `Qwen3_5ForCausalLM`. What predicts more than one token is passed over."""

    unused = ("mtp.",)

    def project(self, at: str, source: str) -> None:
        """A matrix for queries, keys and values, and one each for z, b and a."""
        values = self.state_heads * self.state_value_dim
        self.linear(source, f"{at}in_proj_qkv", 2 * self.state_key_heads * self.state_key_dim + values, "mixed")
        self.linear(source, f"{at}in_proj_z", values, "z")
        self.linear(source, f"{at}in_proj_b", self.state_heads, "b")
        self.linear(source, f"{at}in_proj_a", self.state_heads, "a")


__model__ = Qwen35Model

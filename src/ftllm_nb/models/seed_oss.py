"""Seed-OSS: Llama with biases of its own."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder
from ftllm_nb.graph.config_entries import flag


class SeedOssModel(Decoder):
    """The graph of `SeedOssForCausalLM`."""

    @property
    def out_bias(self) -> bool:
        """Apart from those of q, k and v."""
        return flag(self.config, "attention_out_bias", False)


__model__ = SeedOssModel

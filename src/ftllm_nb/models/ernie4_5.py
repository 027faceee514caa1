"""ERNIE 4.5's dense models: Llama that turns neighbours."""

from __future__ import annotations

from ftllm_nb.blocks import Decoder
from ftllm_nb.graph.config_entries import flag


class Ernie45Model(Decoder):
    """The graph of `Ernie4_5ForCausalLM`."""

    turns_neighbours = True

    @property
    def qkv_bias(self) -> bool:
        """All projections have biases, or none."""
        return flag(self.config, "use_bias", False)

    @property
    def mlp_bias(self) -> bool:
        """As those of attention."""
        return self.qkv_bias


__model__ = Ernie45Model

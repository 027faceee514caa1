"""StarCoder 2: LayerNorm, a feed-forward without a gate, a window in all layers."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import LayerNormedDecoder, Names, given_window
from ftllm_nb.graph.config_entries import flag


class Starcoder2Model(LayerNormedDecoder):
    """The graph of `Starcoder2ForCausalLM`."""

    names = Names(up="c_fc", down="c_proj")
    eps_entry = "norm_epsilon"
    is_gated = False
    ties_by_default = True
    default_activation = "gelu_pytorch_tanh"

    @property
    def qkv_bias(self) -> bool:
        """All projections have biases, or none."""
        return flag(self.config, "use_bias", True)

    @property
    def mlp_bias(self) -> bool:
        """As those of attention."""
        return self.qkv_bias

    @cached_property
    def windows(self) -> list[int | None]:
        """One for all layers."""
        return [given_window(self)] * self.num_layers


__model__ = Starcoder2Model

"""OLMo Hybrid: gated delta nets, and OLMo 3's attention in every fourth layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ftllm_nb.blocks import SeparateDeltaNetDecoder
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.graph.layer_kinds import FULL
from ftllm_nb.models.olmo2 import Olmo2Model

GATED_EPS = 1e-5
"""Of the norm with a gate, whatever the config says of others."""


class OlmoHybridModel(SeparateDeltaNetDecoder, Olmo2Model):
    """The graph of `OlmoHybridForCausalLM`: norms before the branches of delta nets, and after those of attention."""

    def usual_kinds(self) -> list[str]:
        """Every fourth attends, or else the last."""
        layers = self.num_layers
        attend = range(3, layers, 4) if layers > 3 else (layers - 1,)
        return [FULL if number in attend else self.recurrent_kind for number in range(layers)]

    def rotates(self, number: int) -> bool:
        """Unless rope_theta is null."""
        section = self.config.get("rope_parameters")
        place = section if isinstance(section, Mapping) else self.config
        return "rope_theta" not in place or place["rope_theta"] is not None

    def layer(self, number: int, at: str) -> None:
        """With the norms of the layer's kind. transformers saves some of them by names of its own."""
        attends = self.kinds[number] == FULL
        before = self.saved(at, "attention_layer_norm", "input_layernorm")
        after = self.saved(at, "post_attention_layernorm", "feedforward_layer_norm")
        middle = self.saved(at, "feedforward_layer_norm", "post_attention_layernorm")
        self.names = dataclasses.replace(
            self.names,
            before_attention=None if attends else before,
            after_attention=after if attends else None,
            before_feed_forward=None if attends else middle,
            after_feed_forward="post_feedforward_layernorm" if attends else None,
        )
        super().layer(number, at)

    def saved(self, at: str, usual: str, other: str) -> str:
        """The name of a layer's norm in the checkpoint."""
        return other if f"{at}{other}.weight" in self.checkpoint_names else usual

    def recurrent_layer(self, number: int, at: str, source: str, target: str) -> None:
        """A gated delta net; b may be up to 2, so that a state's eigenvalues may be negative."""
        config, data, every = self.config, self.data, self.heads
        key_heads, heads = (whole(config, f"linear_num_{each}_heads", every) for each in ("key", "value"))
        key_dim = whole(config, "linear_key_head_dim", int(0.75 * self.hidden_size / key_heads))
        value_dim = whole(config, "linear_value_head_dim", 2 * key_dim)
        self.multiple("linear_num_value_heads", heads, "linear_num_key_heads", key_heads)
        keys, values, taps = (key_heads, key_dim), (heads, value_dim), whole(config, "linear_conv_kernel_dim", 4)
        self.project_states(number, at, source, taps, q=keys, k=keys, v=values)
        for name, weight, size in (("g", "a_proj", heads), ("b", "b_proj", heads), ("z", "g_proj", heads * value_dim)):
            self.linear(source, f"{at}{weight}", size, name)
        self.Sigmoid(data["b"], data["b"])
        if flag(config, "linear_allow_neg_eigval", True):
            self.Mul(data["b"], 2.0, data["b"])
        rates, bias = (self.vector(f"{at}{name}", heads) for name in ("A_log", "dt_bias"))
        self.MambaSoftplus(data["g"], rates, bias, data["g"])
        self.read_states(number, at, source, target, heads, (key_dim, value_dim), GATED_EPS)


__model__ = OlmoHybridModel

"""StarCoder 2: LayerNorm, a feed-forward without a gate, a window in all layers."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import LayerNormedDecoder, given_window
from ftllm_nb.graph.config_entries import flag


class Starcoder2Model(LayerNormedDecoder):
    """The graph of `Starcoder2ForCausalLM`."""

    eps_entry = "norm_epsilon"

    @property
    def qkv_bias(self) -> bool:
        """All projections have biases, or none."""
        return flag(self.config, "use_bias", True)

    @property
    def ties_embeddings(self) -> bool:
        """Unless the config says otherwise."""
        return flag(self.config, "tie_word_embeddings", True)

    @property
    def activation(self) -> str | None:
        """gelu's tanh form where the config does not say."""
        if self.config.get("hidden_act") is None:
            self.config["hidden_act"] = "gelu_pytorch_tanh"  # which the operator reads, too
        return super().activation

    @cached_property
    def windows(self) -> list[int | None]:
        """One for all layers."""
        return [given_window(self)] * self.num_layers

    def feed_forward(self, at: str, source: str, target: str) -> None:
        """c_proj(activation(c_fc(source)))."""
        self.linear(source, f"{at}c_fc", int(self.config["intermediate_size"]), "up", self.qkv_bias)
        self.activate("up")
        self.linear("up", f"{at}c_proj", self.hidden_size, target, self.qkv_bias)


__model__ = Starcoder2Model

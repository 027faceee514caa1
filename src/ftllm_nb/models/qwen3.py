"""Qwen3's dense models: Qwen2 without biases, and with norms of each query and key head."""

from __future__ import annotations

from ftllm_nb.graph.config_entries import flag
from ftllm_nb.models.qwen2 import Qwen2Model


class Qwen3Model(Qwen2Model):
    """The graph of `Qwen3ForCausalLM`."""

    @property
    def qkv_bias(self) -> bool:
        """As the config says."""
        return flag(self.config, "attention_bias", False)

    @property
    def out_bias(self) -> bool:
        """As those of q, k and v."""
        return self.qkv_bias

    @property
    def head_dim(self) -> int:
        """128 where the config does not say."""
        return int(self.config.get("head_dim") or 128)

    def turn_heads(self, number: int, at: str) -> None:
        """Normalized, then turned."""
        self.normalize_heads(at, q="q_norm", k="k_norm")
        self.rotate(number, "q", "k")


__model__ = Qwen3Model

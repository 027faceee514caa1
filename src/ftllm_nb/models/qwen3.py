"""Qwen3's dense models: Llama with norms of each query and key head, and layers that may slide."""

from __future__ import annotations

from ftllm_nb.blocks import QwenDecoder


class Qwen3Model(QwenDecoder):
    """The graph of `Qwen3ForCausalLM`."""

    @property
    def head_dim(self) -> int:
        """128 where the config does not say."""
        return int(self.config.get("head_dim") or 128)

    def turn_heads(self, number: int, at: str) -> None:
        """Normalized, then turned."""
        self.normalize_heads(at, q="q_norm", k="k_norm")
        self.rotate(number, "q", "k")


__model__ = Qwen3Model

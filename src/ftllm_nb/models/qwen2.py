"""Qwen2 and Qwen2.5: Llama with biases on q, k and v, and layers that may slide."""

from __future__ import annotations

from ftllm_nb.blocks import QwenDecoder


class Qwen2Model(QwenDecoder):
    """The graph of `Qwen2ForCausalLM`."""

    @property
    def qkv_bias(self) -> bool:
        """Always."""
        return True

    @property
    def out_bias(self) -> bool:
        """Never."""
        return False


__model__ = Qwen2Model

"""Qwen 1.5's and Qwen2's mixtures of experts: beside those that are chosen, one for all tokens with a gate."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import QwenMixtureDecoder
from ftllm_nb.graph.config_entries import flag, whole
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds
from ftllm_nb.models.qwen2 import Qwen2Model


class Qwen2MoeModel(QwenMixtureDecoder, Qwen2Model):
    """The graph of `Qwen2MoeForCausalLM`."""

    shared = "shared_expert"
    shared_gate = "shared_expert_gate"
    shared_entry = ("shared_expert_intermediate_size", 5632)

    @property
    def qkv_bias(self) -> bool:
        """As qkv_bias says."""
        return flag(self.config, "qkv_bias", True)

    @cached_property
    def windows(self) -> list[int | None]:
        """Where the config does not list kinds of layers, every second one of the first max_window_layers slides."""
        config = self.config
        if layer_kinds(config) is None and flag(config, "use_sliding_window", False):
            first = whole(config, "max_window_layers", 28, least=0)
            config["layer_types"] = [SLIDING if i % 2 == 0 and i < first else FULL for i in range(self.num_layers)]
        return super().windows


__model__ = Qwen2MoeModel

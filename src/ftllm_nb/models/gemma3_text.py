"""Gemma 3's text models: Gemma 2 with norms of query and key heads, and a rotation for each kind of layer."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.graph.config_entries import whole
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds
from ftllm_nb.models.gemma2 import Gemma2Model


class Gemma3Model(Gemma2Model):
    """The graph of `Gemma3ForCausalLM`."""

    def check_config(self) -> None:
        """The rotations of older configs, rope_theta with rope_scaling and rope_local_base_freq, in the form of newer
        ones: a table for each kind of layer."""
        config = self.config
        if config.get("rope_local_base_freq") is not None:
            full = {"rope_type": "default", **(config.pop("rope_scaling", None) or {})}
            config["rope_parameters"] = {
                FULL: {**full, "rope_theta": config.pop("rope_theta", 1e6)},
                SLIDING: {"rope_type": "default", "rope_theta": config.pop("rope_local_base_freq")},
            }
        super().check_config()

    @cached_property
    def kinds(self) -> list[str]:
        """Every sixth is full, where layer_types is absent."""
        pattern = whole(self.config, "sliding_window_pattern", 6)
        return layer_kinds(self.config) or [
            SLIDING if (i + 1) % pattern else FULL for i in range(self.num_layers)
        ]

    def turn_heads(self, number: int, at: str) -> None:
        """Normalized, then turned."""
        self.normalize_heads(at, q="q_norm", k="k_norm")
        self.rotate(number, "q", "k")


__model__ = Gemma3Model

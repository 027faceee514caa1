"""Gemma 3's text models: Gemma 2 with norms of query and key heads, and a rotation for each kind of layer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ftllm_nb.graph.layer_kinds import FULL, SLIDING, patterned_kinds
from ftllm_nb.models.gemma2 import Gemma2Model


class Gemma3Model(Gemma2Model):
    """The graph of `Gemma3ForCausalLM`."""

    head_norms = ("q_norm", "k_norm")

    def check_config(self) -> None:
        """The rotations of older configs, rope_theta with rope_scaling and rope_local_base_freq, in the form of newer
        ones: a table for each kind of layer."""
        config = self.config
        scaling, theta, local = (config.get(name) for name in ("rope_scaling", "rope_theta", "rope_local_base_freq"))
        is_older = config.get("rope_parameters") is None and isinstance(scaling, Mapping | None)
        if is_older:
            for name in ("rope_scaling", "rope_theta", "rope_local_base_freq"):
                config.pop(name, None)
            config["rope_parameters"] = {
                FULL: {**(scaling or {}), "rope_theta": 1e6 if theta is None else theta},
                SLIDING: {"rope_theta": 1e4 if local is None else local},
            }
        super().check_config()

    @cached_property
    def kinds(self) -> list[str]:
        """Every sixth is full, where the config does not say."""
        return patterned_kinds(self.config, 6)


__model__ = Gemma3Model

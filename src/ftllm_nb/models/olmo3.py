"""OLMo 3: OLMo 2 with windows in three of four layers, and a rotation for each kind of layer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ftllm_nb.blocks import SlidingDecoder
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds
from ftllm_nb.models.olmo2 import Olmo2Model

THETA = 500000.0
"""What transformers takes for an absent rope_theta."""


class Olmo3Model(SlidingDecoder, Olmo2Model):
    """The graph of `Olmo3ForCausalLM`."""

    window = 4096

    def check_config(self) -> None:
        """A scaling of rotations is of the layers that see everything, where the config has one for all."""
        config, name = self.config, "rope_parameters" if self.config.get("rope_scaling") is None else "rope_scaling"
        section = config.get(name) or {}
        if isinstance(section, Mapping) and not any(isinstance(entry, Mapping) for entry in section.values()):
            given = (section.get("rope_theta"), config.get("rope_theta"))
            theta = next((theta for theta in given if theta is not None), THETA)
            config.pop(name, None)
            config["rope_parameters"] = {FULL: {**section, "rope_theta": theta}, SLIDING: {"rope_theta": theta}}
        super().check_config()

    @cached_property
    def kinds(self) -> list[str]:
        """Every fourth is full, where layer_types is absent."""
        return layer_kinds(self.config) or [SLIDING if (i + 1) % 4 else FULL for i in range(self.num_layers)]


__model__ = Olmo3Model

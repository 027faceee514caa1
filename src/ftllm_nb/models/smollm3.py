"""SmolLM3: Llama in which some layers do not turn."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import Decoder, given_window, sliding_windows
from ftllm_nb.checkpoint.files import shown
from ftllm_nb.errors import GraphError
from ftllm_nb.graph.config_entries import flag, whole


class SmolLM3Model(Decoder):
    """The graph of `SmolLM3ForCausalLM`."""

    @cached_property
    def windows(self) -> list[int | None]:
        """Those of sliding layers, where use_sliding_window says so."""
        used = flag(self.config, "use_sliding_window", False)
        return sliding_windows(self, given_window(self)) if used else [None] * self.num_layers

    def rotates(self, number: int) -> bool:
        """A 1 in no_rope_layers is a layer that turns; without the list, all but every fourth do."""
        turning = self.config.get("no_rope_layers")
        if turning is None:
            return (number + 1) % whole(self.config, "no_rope_layer_interval", 4) != 0
        if not isinstance(turning, list) or len(turning) != self.num_layers:
            raise GraphError(
                f"config.json's no_rope_layers must have a 0 or 1 for each of {self.num_layers} layers, but it is "
                f"{shown(turning)}."
            )
        return bool(turning[number])


__model__ = SmolLM3Model

"""SmolLM3: Llama in which some layers do not turn."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import Decoder, given_window, sliding_windows, turning_layers
from ftllm_nb.graph.config_entries import flag
from ftllm_nb.graph.layer_kinds import FULL, SLIDING, layer_kinds


class SmolLM3Model(Decoder):
    """The graph of `SmolLM3ForCausalLM`."""

    @cached_property
    def windows(self) -> list[int | None]:
        """Those of sliding layers, where use_sliding_window says so."""
        window = given_window(self)  # read also where nothing slides, as in most configs
        used = flag(self.config, "use_sliding_window", False)
        return sliding_windows(self, window) if used else [None] * self.num_layers

    @cached_property
    def kinds(self) -> list[str]:
        """Where layer_types is absent, layers slide that do not turn, if there is a window."""
        slides = given_window(self) is not None and flag(self.config, "use_sliding_window", False)
        return layer_kinds(self.config) or [
            SLIDING if slides and not self.rotates(number) else FULL for number in range(self.num_layers)
        ]

    @cached_property
    def turning(self) -> list[bool]:
        """As no_rope_layers says."""
        return turning_layers(self)

    def rotates(self, number: int) -> bool:
        """As no_rope_layers says."""
        return self.turning[number]


__model__ = SmolLM3Model

"""EXAONE 4: norms after each branch, of query and key heads; layers that see everything do not turn."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import Decoder, given_window, sliding_windows
from ftllm_nb.graph.layer_kinds import SLIDING, patterned_kinds
from ftllm_nb.models.olmo2 import Olmo2Model


class Exaone4Model(Olmo2Model):
    """The graph of `Exaone4ForCausalLM`."""

    head_norms = ("q_norm", "k_norm")

    @cached_property
    def windows(self) -> list[int | None]:
        """Of the sliding layers."""
        window = given_window(self)
        return [None] * self.num_layers if window is None else sliding_windows(self, window)

    @cached_property
    def kinds(self) -> list[str]:
        """Every fourth is full, where the config does not say."""
        return patterned_kinds(self.config, 4)

    def rotates(self, number: int) -> bool:
        """Only sliding layers do, where there are any."""
        return given_window(self) is None or self.kinds[number] == SLIDING

    def project_heads(self, at: str, source: str) -> None:
        """As Llama's."""
        Decoder.project_heads(self, at, source)


__model__ = Exaone4Model

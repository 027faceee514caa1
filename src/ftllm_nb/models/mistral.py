"""Mistral: Llama whose layers all have a window, where the config has one."""

from __future__ import annotations

from functools import cached_property

from ftllm_nb.blocks import Decoder, given_window


class MistralModel(Decoder):
    """The graph of `MistralForCausalLM`."""

    @cached_property
    def windows(self) -> list[int | None]:
        """One for all layers."""
        return [given_window(self)] * self.num_layers


__model__ = MistralModel

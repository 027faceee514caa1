"""Mamba-2 alone, as Codestral Mamba: no layer attends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from ftllm_nb.blocks import MixerDecoder
from ftllm_nb.graph.inputs import find_max_positions


class Mamba2Model(MixerDecoder):
    """The graph of `Mamba2ForCausalLM`. Heads of a config are those of the recurrence."""

    groups_heads = False
    entry_names: ClassVar[Mapping[str, str]] = {
        **MixerDecoder.entry_names, "num_attention_heads": "num_heads", "mamba_n_heads": "num_heads",
        "mamba_d_head": "head_dim", "mamba_d_state": "state_size", "mamba_expand": "expand",
    }  # fmt: skip
    inner_entries = "hidden_size · expand"
    usual_positions = 262144
    """transformers' config names no longest sequence, as nothing here depends on one. Codestral Mamba was tried on as
    many tokens."""

    def read_config(self) -> None:
        """The first checkpoints call the embedding otherwise, and no config need have a longest sequence."""
        if f"{self.prefix}embedding.weight" in self.checkpoint_names:
            self.names = replace(self.names, embedding="embedding")
        if find_max_positions(self.config) is None:
            self.config["max_positions"] = self.usual_positions
        super().read_config()

    @property
    def head_dim(self) -> int:
        """Features of a head of the recurrence."""
        return self.mamba_inner // self.mamba_heads


__model__ = Mamba2Model

"""Mamba-2 alone, as Codestral Mamba."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.mixers import MixerArchitecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Mamba2(MixerArchitecture):
    """llama.cpp's `mamba2`."""

    model_type = "mamba2"
    writes = ("mamba2",)
    own_entries: ClassVar = {"heads": "num_heads", "head_dim": "head_dim"}

    def query_heads(self) -> int:
        """There are none, which files say by a 0; configs have those of the recurrence."""
        self.metadata.read("attention.head_count", "attention.head_count_kv")
        return self.metadata.whole("ssm.time_step_rank")

    def config(self) -> dict[str, Any]:
        """Without attention's sizes."""
        config = super().config()
        for name in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
            del config[name]
        return config | {"expand": self.whole_ratio("ssm.inner_size", "embedding_length", self.hidden_size)}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """Without attention's sizes."""
        found = super().entries(model)
        for name in ("attention.key_length", "attention.value_length"):
            del found[name]
        return {**found, "attention.head_count": 0, "attention.head_count_kv": 0}

    @classmethod
    def inner_entry(cls, model: OutgoingModel) -> Any:
        """There are no feed-forwards."""
        return 0


ARCHITECTURE = Mamba2

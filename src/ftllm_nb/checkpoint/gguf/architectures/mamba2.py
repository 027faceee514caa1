"""Mamba-2 alone, as Codestral Mamba."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.mixers import MixerArchitecture


class Mamba2(MixerArchitecture):
    """llama.cpp's `mamba2`."""

    model_type = "mamba2"
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


ARCHITECTURE = Mamba2

"""Qwen3's mixtures of experts."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture


class Qwen3Moe(MixtureArchitecture):
    """llama.cpp's `qwen3moe`."""

    model_type = "qwen3_moe"
    normalizes = True

    def config(self) -> dict[str, Any]:
        """Experts have a size of their own."""
        return super().config() | {"moe_intermediate_size": self.metadata.whole("expert_feed_forward_length")}


ARCHITECTURE = Qwen3Moe

"""Qwen3's mixtures of experts."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture


class Qwen3Moe(MixtureArchitecture):
    """llama.cpp's `qwen3moe`."""

    model_type = "qwen3_moe"
    writes = ("qwen3_moe",)

    def config(self) -> dict[str, Any]:
        """Experts have a size of their own; llama.cpp always normalizes weights."""
        return super().config() | {"moe_intermediate_size": self.expert_size, "norm_topk_prob": True}


ARCHITECTURE = Qwen3Moe

"""OLMoE."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture


class Olmoe(MixtureArchitecture):
    """llama.cpp's `olmoe`."""

    model_type = "olmoe"
    writes = ("olmoe",)
    tells_expert_size = False

    def config(self) -> dict[str, Any]:
        """llama.cpp never normalizes weights."""
        return super().config() | {"norm_topk_prob": False}


ARCHITECTURE = Olmoe

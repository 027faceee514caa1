"""Mistral Small 3.1 and Ministral 3, whose queries grow with their position."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class Mistral3(Architecture):
    """llama.cpp's `mistral3`."""

    model_type = "mistral"
    turns_neighbours = True

    def config(self) -> dict[str, Any]:
        """With a temperature it is Ministral 3, which has its rotations under the newer name."""
        beta = self.metadata.real("attention.temperature_scale", 0.0)
        config = {**super().config(), "sliding_window": None}
        if not beta:
            return config
        rope = {"rope_theta": config.pop("rope_theta"), **(config.pop("rope_scaling", None) or {})}
        rope.setdefault("original_max_position_embeddings", self.original_context())
        return {**config, "model_type": "ministral3", "rope_parameters": {**rope, "llama_4_scaling_beta": beta}}

    def scaling(self) -> dict[str, Any] | None:
        """yarn_log_multiplier is by how much yarn sharpens attention less again."""
        scaling = super().scaling()
        log = self.metadata.real("rope.scaling.yarn_log_multiplier", 0.0)
        if scaling is None or not log:
            return scaling
        return {**scaling, "mscale": 1.0, "mscale_all_dim": log}


ARCHITECTURE = Mistral3

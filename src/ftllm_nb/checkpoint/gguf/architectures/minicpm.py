"""MiniCPM 1, 2 and 4's dense models."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class MiniCPM(Architecture):
    """llama.cpp's `minicpm`."""

    model_type = "minicpm"
    turns_neighbours = True

    def config(self) -> dict[str, Any]:
        """The three factors, from what llama.cpp computes with them; old files have none, and those of the first
        models count."""
        metadata = self.metadata
        depth = metadata.real("residual_scale", 0.0) * self.layers**0.5 or 1.4
        width = self.hidden_size / (metadata.real("logit_scale", 0.0) or self.hidden_size / 256)
        return {
            **super().config(),
            "scale_emb": metadata.real("embedding_scale", 0.0) or 12.0,
            "scale_depth": round(depth, 6),
            "dim_model_base": round(width, 3),
        }


ARCHITECTURE = MiniCPM

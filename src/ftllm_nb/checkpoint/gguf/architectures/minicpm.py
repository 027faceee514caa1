"""MiniCPM 1, 2 and 4's dense models."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class MiniCPM(Architecture):
    """llama.cpp's `minicpm`."""

    model_type = "minicpm"
    writes = ("minicpm",)
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

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """The three factors, as what they do."""
        config = model.config
        layers, hidden = int(config["num_hidden_layers"]), int(config["hidden_size"])
        return {
            **super().entries(model),
            "embedding_scale": float(config.get("scale_emb", 1)),
            "residual_scale": config.get("scale_depth", 1.0) / layers**0.5,
            "logit_scale": hidden / config.get("dim_model_base", hidden),
        }


ARCHITECTURE = MiniCPM

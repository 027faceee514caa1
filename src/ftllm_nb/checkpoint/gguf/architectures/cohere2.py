"""Command R7B and others of Cohere 2, which turn neighbours in Hugging Face's form, too."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Cohere2(Architecture):
    """llama.cpp's `cohere2`."""

    model_type = "cohere2"
    writes = ("cohere2",)
    eps_entry = "layer_norm_eps"
    eps_key = "attention.layer_norm_epsilon"

    def config(self) -> dict[str, Any]:
        """With windows, and what the logits are multiplied by."""
        metadata = self.metadata
        windows = self.windows(4, metadata.whole("attention.sliding_window"))
        return {**super().config(), "logit_scale": metadata.real("logit_scale"), **windows}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With windows, and what the logits are multiplied by."""
        logits = {"logit_scale": float(model.config.get("logit_scale", 0.0625))}
        return {**super().entries(model), **logits, **cls.window_entries(model, pattern=False)}


ARCHITECTURE = Cohere2

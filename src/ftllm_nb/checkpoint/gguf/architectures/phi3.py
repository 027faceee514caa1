"""Phi-3 and Phi-4-mini."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Phi3(Architecture):
    """llama.cpp's `phi3`."""

    model_type = "phi3"
    writes = ("phi3",)
    names: ClassVar = {**NAMES, "blk.*.ffn_up": "model.layers.*.mlp.gate_up_proj"}

    def config(self) -> dict[str, Any]:
        """A window of 0 is none."""
        window = self.metadata.whole("attention.sliding_window", 0, least=0)
        return {**super().config(), "sliding_window": window or None}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With what Phi-3 tells besides."""
        return {**super().entries(model), **cls.original_entries(model)}

    @classmethod
    def original_entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """A window of 0 is none; the original context is told in any case."""
        return {
            "attention.sliding_window": model.config.get("sliding_window") or 0,
            "rope.scaling.original_context_length": model.original_context,
        }


ARCHITECTURE = Phi3

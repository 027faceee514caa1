"""Phi-3 and Phi-4-mini."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture


class Phi3(Architecture):
    """llama.cpp's `phi3`."""

    model_type = "phi3"
    names: ClassVar = {**NAMES, "blk.*.ffn_up": "model.layers.*.mlp.gate_up_proj"}

    def config(self) -> dict[str, Any]:
        """A window of 0 is none."""
        window = self.metadata.whole("attention.sliding_window", 0, least=0)
        return {**super().config(), "sliding_window": window or None}


ARCHITECTURE = Phi3

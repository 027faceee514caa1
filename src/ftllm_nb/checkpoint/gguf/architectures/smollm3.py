"""SmolLM3: every fourth layer does not turn, which the metadata does not tell."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class SmolLM3(Architecture):
    """llama.cpp's `smollm3`."""

    model_type = "smollm3"
    writes = ("smollm3",)
    turns_neighbours = True

    def config(self) -> dict[str, Any]:
        """All but every fourth layer turn."""
        return {**super().config(), "no_rope_layer_interval": 4}


ARCHITECTURE = SmolLM3

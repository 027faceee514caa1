"""EXAONE 4."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import AROUND_BRANCHES, NAMES, Architecture
from ftllm_nb.checkpoint.gguf.way_out import FULL, OutgoingModel


class Exaone4(Architecture):
    """llama.cpp's `exaone4`."""

    model_type = "exaone4"
    writes = ("exaone4",)
    names: ClassVar = {**NAMES, **AROUND_BRANCHES}

    def config(self) -> dict[str, Any]:
        """Files of the model of 64 layers need not tell its windows."""
        window = self.metadata.whole("attention.sliding_window", 4096 if self.layers == 64 else 0, least=0)
        windows = self.windows(4, window) if window else {"sliding_window": None, "layer_types": [FULL] * self.layers}
        return {**super().config(), **windows}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With windows, where there are any."""
        return {**super().entries(model), **cls.window_entries(model)}


ARCHITECTURE = Exaone4

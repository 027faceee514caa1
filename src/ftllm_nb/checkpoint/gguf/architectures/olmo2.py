"""OLMo 2, and OLMo 3, which has windows."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import AROUND_BRANCHES, NAMES, Architecture
from ftllm_nb.checkpoint.gguf.way_out import FULL, SLIDING, OutgoingModel


class Olmo2(Architecture):
    """llama.cpp's `olmo2`."""

    model_type = "olmo2"
    writes = ("olmo2", "olmo3")
    names: ClassVar = {**NAMES, **AROUND_BRANCHES}

    def config(self) -> dict[str, Any]:
        """With a window it is OLMo 3, whose scaling of rotations is of layers that see everything."""
        window = self.metadata.whole("attention.sliding_window", 0, least=0)
        config = super().config()
        if not window:
            return config
        base = config.pop("rope_theta")
        config["rope_parameters"] = {
            FULL: {"rope_theta": base, **(config.pop("rope_scaling", None) or {})},
            SLIDING: {"rope_theta": self.metadata.real("rope.freq_base_swa", base)},
        }
        return {**config, "model_type": "olmo3", **self.windows(4, window)}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the windows that OLMo 3 has."""
        found = {**super().entries(model), **cls.window_entries(model)}
        if SLIDING in model.bases:
            found["rope.freq_base_swa"] = float(model.bases[SLIDING])
        return found


ARCHITECTURE = Olmo2

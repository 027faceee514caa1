"""Files with layers behind the last one, which guess further tokens: they are left out."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.sources import Source


class GuessingArchitecture(Architecture):
    """An `Architecture` whose files may have such layers."""

    @property
    def guessing_layers(self) -> int:
        """How many there are."""
        return self.metadata.whole("nextn_predict_layers", 0, least=0)

    def config(self) -> dict[str, Any]:
        """Of the layers before them."""
        self.layers -= self.guessing_layers
        return super().config()

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """Nothing of them."""
        layer = name.removeprefix("blk.").partition(".")[0] if name.startswith("blk.") else ""
        if layer.isdecimal() and int(layer) >= self.layers:
            return {}
        return super().sources_of(name, target)

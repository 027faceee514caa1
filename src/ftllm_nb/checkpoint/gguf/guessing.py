"""Files with layers behind the last one, which guess further tokens: they are left out."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.errors import CheckpointError


class GuessingArchitecture(Architecture):
    """An `Architecture` whose files may have such layers."""

    @property
    def guessing_layers(self) -> int:
        """How many there are."""
        return self.metadata.whole("nextn_predict_layers", 0, least=0)

    def config(self) -> dict[str, Any]:
        """Of the layers before them."""
        guessing = self.guessing_layers
        if guessing >= self.layers:
            raise CheckpointError(
                f"{self.file.path} has {self.layers} layers (block_count), of which {guessing} only guess further "
                "tokens (nextn_predict_layers): none is left for the model; it is damaged, so download it again."
            )
        self.layers -= guessing
        return super().config()

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """Nothing of them."""
        layer = name.removeprefix("blk.").partition(".")[0] if name.startswith("blk.") else ""
        if layer.isdecimal() and int(layer) >= self.layers:
            return {}
        return super().sources_of(name, target)

"""Granite 3 and 4's dense models."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel
from ftllm_nb.errors import CheckpointError


class Granite(Architecture):
    """llama.cpp's `granite`."""

    model_type = "granite"
    writes: ClassVar[tuple[str, ...]] = ("granite",)
    turns_neighbours = True

    def config(self) -> dict[str, Any]:
        """With the four multipliers; scores are scaled as usual where the file does not say."""
        self.refuse_unturned()
        metadata = self.metadata
        return {
            **super().config(),
            "attention_multiplier": metadata.real("attention.scale", 0.0) or self.head_dim**-0.5,
            "embedding_multiplier": metadata.real("embedding_scale", 0.0) or 1.0,
            "residual_multiplier": metadata.real("residual_scale", 0.0) or 1.0,
            "logits_scaling": metadata.real("logit_scale", 0.0) or 1.0,
        }

    def refuse_unturned(self) -> None:
        """Raise `CheckpointError` for a model without rotations."""
        if not self.metadata.flag("rope.scaling.finetuned", True):
            raise CheckpointError(
                f"{self.file.path} is of a Granite that does not turn by positions (rope.scaling.finetuned is false), "
                "which this architecture does not do."
            )

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the four multipliers."""
        names = {
            "attention.scale": "attention_multiplier",
            "embedding_scale": "embedding_multiplier",
            "residual_scale": "residual_multiplier",
            "logit_scale": "logits_scaling",
        }
        return {**super().entries(model), **{key: float(model.config.get(name, 1.0)) for key, name in names.items()}}


ARCHITECTURE = Granite

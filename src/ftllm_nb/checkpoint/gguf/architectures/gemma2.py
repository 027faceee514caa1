"""Gemma 2: Gemma with norms around each branch, windows in every second layer, and softcaps."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import AROUND_BRANCHES, NAMES
from ftllm_nb.checkpoint.gguf.architectures.gemma import Gemma
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Gemma2(Gemma):
    """llama.cpp's `gemma2`."""

    model_type = "gemma2"
    writes = ("gemma2",)
    names: ClassVar = {**NAMES, **AROUND_BRANCHES}

    def config(self) -> dict[str, Any]:
        """What the metadata does not tell is as llama.cpp has it, which knows the largest model by its layers."""
        metadata = self.metadata
        return {
            **super().config(),
            "query_pre_attn_scalar": self.scored_size(46),
            "attn_logit_softcapping": metadata.real("attn_logit_softcapping", 50.0) or None,
            "final_logit_softcapping": metadata.real("final_logit_softcapping", 30.0) or None,
            **self.windows(2, metadata.whole("attention.sliding_window", 4096)),
        }

    def scored_size(self, layers: int) -> int:
        """By whose root scores are divided: a head's size, in the model of 27B and so many layers that of an input's
        share."""
        return self.hidden_size // self.heads if self.layers == layers else self.head_dim

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With softcaps and the window."""
        return {**super().entries(model), **cls.softcap_entries(model), **cls.window_entries(model, pattern=False)}

    @classmethod
    def softcap_entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """Those that the config has."""
        names = ("attn_logit_softcapping", "final_logit_softcapping")
        return {name: float(model.config[name]) for name in names if model.config.get(name)}


ARCHITECTURE = Gemma2

"""Gemma 3's text models."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.architectures.gemma2 import Gemma2
from ftllm_nb.checkpoint.gguf.way_out import FULL, SLIDING, OutgoingModel


class Gemma3(Gemma2):
    """llama.cpp's `gemma3`."""

    model_type = "gemma3_text"
    writes = ("gemma3_text",)

    def config(self) -> dict[str, Any]:
        """The scaling of rotations is of layers that see everything; the base of the others is 10000. Ollama's own
        files call both bases otherwise."""
        metadata = self.metadata
        config = Architecture.config(self)
        config |= {
            "query_pre_attn_scalar": self.scored_size(62),
            "attn_logit_softcapping": metadata.real("attn_logit_softcapping", 0.0) or None,
            "final_logit_softcapping": metadata.real("final_logit_softcapping", 0.0) or None,
            "rope_parameters": {
                FULL: {
                    "rope_theta": metadata.real("rope.global.freq_base", config.pop("rope_theta")),
                    **(config.pop("rope_scaling", None) or {}),
                },
                SLIDING: {
                    "rope_theta": metadata.real("rope.freq_base_swa", metadata.real("rope.local.freq_base", 10000.0))
                },
            },
        }
        window = metadata.whole("attention.sliding_window", 0, least=0)
        return config | self.windows(6 if window else 1, window or None)

    @classmethod
    def softcap_entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """Scores have none."""
        return {name: cap for name, cap in super().softcap_entries(model).items() if name.startswith("final_")}

    @classmethod
    def rotation_entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the base of layers that slide."""
        return {**super().rotation_entries(model), "rope.freq_base_swa": model.base_of(SLIDING)}


ARCHITECTURE = Gemma3

"""Phi-3.5-MoE. What others than the best experts count for a weight is fixed in files, as are the norms' kinds."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.architectures.phi3 import Phi3
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class PhiMoe(MixtureArchitecture):
    """llama.cpp's `phimoe`, which it computes with other norms and weights than the model was trained with."""

    model_type = "phimoe"
    writes = ("phimoe",)
    tells_expert_size = False
    names: ClassVar = {**NAMES, **expert_names("block_sparse_moe", parts=("w1", "w3", "w2"))}
    experts_entry = "num_local_experts"

    def config(self) -> dict[str, Any]:
        """Experts are as large as a feed-forward; a window of 0 is none."""
        self.metadata.read("expert_feed_forward_length")
        return super().config() | {
            "sliding_window": self.metadata.whole("attention.sliding_window", 0, least=0) or None,
            "attention_bias": self.has("attn_q.bias"),
            "lm_head_bias": "output.bias" in self.file.tensors,
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """As Phi-3's."""
        return {**super().entries(model), **Phi3.original_entries(model)}


ARCHITECTURE = PhiMoe

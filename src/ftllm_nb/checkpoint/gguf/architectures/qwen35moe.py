"""Qwen3.5 and 3.6's mixtures of experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architectures.qwen2moe import Qwen2Moe
from ftllm_nb.checkpoint.gguf.delta_net import DELTA_NET, DeltaNetArchitecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Qwen35Moe(DeltaNetArchitecture, Qwen2Moe):
    """llama.cpp's `qwen35moe`."""

    model_type = "qwen3_5_moe_text"
    writes: ClassVar[tuple[str, ...]] = ("qwen3_5_moe_text",)
    names: ClassVar = Qwen2Moe.names | DELTA_NET

    @property
    def inner_size(self) -> int:
        """No layer has a feed-forward of its own, so that files need not say it."""
        return self.metadata.whole("feed_forward_length", self.expert_size)

    def config(self) -> dict[str, Any]:
        """llama.cpp always normalizes weights here."""
        return super().config() | {"norm_topk_prob": True}

    @classmethod
    def inner_entry(cls, model: OutgoingModel) -> Any:
        """No layer has a feed-forward of its own."""
        return model.first("intermediate_size", "moe_intermediate_size")


ARCHITECTURE = Qwen35Moe

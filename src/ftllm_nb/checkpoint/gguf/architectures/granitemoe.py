"""Granite 3's mixtures of experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.architectures.granite import Granite
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names


class GraniteMoe(MixtureArchitecture, Granite):
    """llama.cpp's `granitemoe`."""

    model_type = "granitemoe"
    writes = ("granitemoe",)
    tells_expert_size = False
    names: ClassVar = NAMES | expert_names("block_sparse_moe", router="router.layer")
    experts_entry = "num_local_experts"

    def config(self) -> dict[str, Any]:
        """Experts are as large as a feed-forward."""
        self.metadata.read("expert_feed_forward_length")
        return super().config()


ARCHITECTURE = GraniteMoe

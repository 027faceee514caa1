"""MiniMax M2."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import SIGMOID, MixtureArchitecture, expert_names


class MiniMaxM2(MixtureArchitecture):
    """llama.cpp's `minimax-m2`."""

    model_type = "minimax_m2"
    writes = ("minimax_m2",)
    file_architecture = "minimax-m2"
    names: ClassVar = {
        **NAMES,
        **expert_names("block_sparse_moe", parts=("w1", "w3", "w2"), correction="e_score_correction_bias"),
    }
    experts_entry = "num_local_experts"
    gating = SIGMOID

    def config(self) -> dict[str, Any]:
        """Experts are as large as the metadata says of them; a part of each head turns."""
        config = super().config()
        config.pop("partial_rotary_factor", None)
        turning = self.metadata.whole("rope.dimension_count", self.head_dim)
        return config | {"intermediate_size": self.expert_size, "rotary_dim": turning}


ARCHITECTURE = MiniMaxM2

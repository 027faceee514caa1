"""ERNIE 4.5's mixtures of experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.sources import Source


class Ernie45Moe(MixtureArchitecture):
    """llama.cpp's `ernie4_5-moe`."""

    model_type = "ernie4_5_moe"
    names: ClassVar = {
        **NAMES,
        **expert_names("mlp", shared="shared_experts", correction="moe_statics.e_score_correction_bias"),
    }
    experts_entry = "moe_num_experts"
    picks_entry = "moe_k"

    def config(self) -> dict[str, Any]:
        """Which layers are mixtures; the number of shared experts is told by their tensors' size."""
        metadata, config = self.metadata, super().config()
        metadata.read("expert_shared_count", "expert_shared_feed_forward_length")
        return config | {
            "moe_intermediate_size": self.expert_size,
            "moe_num_shared_experts": (self.rows_where("ffn_up_shexp") or 0) // self.expert_size,
            "moe_layer_start_index": metadata.whole("leading_dense_block_count", 0, least=0),
            "moe_layer_interval": metadata.whole("interleave_moe_layer_step", 1),
            "use_bias": self.has("attn_q.bias"),
        }

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """The correction is a matrix of one row."""
        found = super().sources_of(name, target)
        if target.endswith(".e_score_correction_bias"):
            found = {target: Source(name, (1, self.file.tensors[name].shape[-1]))}
        return found


ARCHITECTURE = Ernie45Moe

"""ERNIE 4.5's mixtures of experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Ernie45Moe(MixtureArchitecture):
    """llama.cpp's `ernie4_5-moe`."""

    model_type = "ernie4_5_moe"
    writes = ("ernie4_5_moe",)
    file_architecture = "ernie4_5-moe"
    tells_shared_size = True
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

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With which layers are mixtures."""
        mixtures = cls.layers_with(model, "ffn_gate_inp.weight")
        return {
            **super().entries(model),
            "expert_shared_count": int(model.config.get("moe_num_shared_experts") or 0),
            "leading_dense_block_count": int(model.config.get("moe_layer_start_index", 1)),
            "interleave_moe_layer_step": mixtures[1] - mixtures[0] if len(mixtures) > 1 else 1,
        }

    @classmethod
    def file_shapes(cls, model: OutgoingModel) -> dict[str, tuple[int, ...]]:
        """The correction is a vector."""
        shapes = super().file_shapes(model)
        return {name: shape[-1:] if name.endswith(".exp_probs_b.bias") else shape for name, shape in shapes.items()}


ARCHITECTURE = Ernie45Moe

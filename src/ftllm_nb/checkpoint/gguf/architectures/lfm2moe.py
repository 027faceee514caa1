"""LFM2's mixtures of experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architectures.lfm2 import Lfm2
from ftllm_nb.checkpoint.gguf.mixture import SIGMOID, MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Lfm2Moe(Lfm2, MixtureArchitecture):
    """llama.cpp's `lfm2moe`."""

    model_type = "lfm2_moe"
    writes = ("lfm2_moe",)
    file_architecture = "lfm2moe"
    gating = SIGMOID
    names: ClassVar = Lfm2.names | expert_names("feed_forward", parts=("w1", "w3", "w2"), correction="expert_bias")

    def config(self) -> dict[str, Any]:
        """The first layers are dense; llama.cpp always normalizes weights."""
        return super().config() | {
            "moe_intermediate_size": self.expert_size,
            "num_dense_layers": self.metadata.whole("leading_dense_block_count", 0, least=0),
            "norm_topk_prob": True,
            "routed_scaling_factor": 1.0,
            "use_expert_bias": any(name.endswith(".exp_probs_b.bias") for name in self.file.tensors),
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the number of dense layers."""
        mixtures = cls.layers_with(model, "ffn_gate_inp.weight")
        return {**super().entries(model), "leading_dense_block_count": mixtures[0] if mixtures else model.layers}


ARCHITECTURE = Lfm2Moe

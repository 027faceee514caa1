"""HunYuan's mixtures of experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class HunYuanMoe(MixtureArchitecture):
    """llama.cpp's `hunyuan-moe`."""

    model_type = "hunyuan_v1_moe"
    writes = ("hunyuan_v1_moe",)
    file_architecture = "hunyuan-moe"
    tells_shared_size = True
    names: ClassVar = {
        **NAMES,
        "blk.*.attn_q_norm": "model.layers.*.self_attn.query_layernorm",
        "blk.*.attn_k_norm": "model.layers.*.self_attn.key_layernorm",
        **expert_names("mlp", router="gate.wg", shared="shared_mlp"),
    }
    picks_entry = "moe_topk"

    def config(self) -> dict[str, Any]:
        """The feed-forward that all tokens go through is one expert, of the config's intermediate_size."""
        self.metadata.read("expert_shared_count")
        shared = self.metadata.whole("expert_shared_feed_forward_length", self.rows_where("ffn_up_shexp"))
        return super().config() | {
            "intermediate_size": shared,
            "moe_intermediate_size": self.expert_size,
            "num_shared_expert": 1,
            "use_qk_norm": self.has("attn_q_norm.weight"),
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the one expert that all tokens go through."""
        return {**super().entries(model), "expert_shared_count": 1}


ARCHITECTURE = HunYuanMoe

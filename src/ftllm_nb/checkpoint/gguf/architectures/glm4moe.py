"""GLM-4.5 and 4.6."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import GroupedMixtureArchitecture, expert_names


class Glm4Moe(GroupedMixtureArchitecture):
    """llama.cpp's `glm4moe`."""

    model_type = "glm4_moe"
    writes = ("glm4_moe",)
    names: ClassVar = {
        **NAMES,
        "blk.*.post_attention_norm": "model.layers.*.post_attention_layernorm",
        **expert_names("mlp", shared="shared_experts", correction="gate.e_score_correction_bias"),
    }

    def config(self) -> dict[str, Any]:
        """What there is of norms and biases, the tensors tell."""
        config = super().config() | {
            "use_qk_norm": self.has("attn_q_norm.weight"),
            "attention_bias": self.has("attn_q.bias"),
        }
        return {"partial_rotary_factor": 1.0, **config}


ARCHITECTURE = Glm4Moe

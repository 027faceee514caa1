"""Qwen3's mixtures of experts."""

from __future__ import annotations

from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture

EXPERTS = {
    "blk.*.ffn_gate_inp": "model.layers.*.mlp.gate",
    "blk.*.ffn_gate_exps": "model.layers.*.mlp.experts.gate_proj",
    "blk.*.ffn_up_exps": "model.layers.*.mlp.experts.up_proj",
    "blk.*.ffn_down_exps": "model.layers.*.mlp.experts.down_proj",
}
"""llama.cpp's names of a mixture's tensors: each is a stack of all experts' matrices."""


class Qwen3Moe(Architecture):
    """llama.cpp's `qwen3moe`."""

    model_type = "qwen3_moe"
    names = NAMES | EXPERTS

    def config(self) -> dict[str, Any]:
        """With the numbers of experts; weights are normalized in all files."""
        metadata = self.metadata
        return super().config() | {
            "num_experts": metadata.whole("expert_count"),
            "num_experts_per_tok": metadata.whole("expert_used_count"),
            "moe_intermediate_size": metadata.whole("expert_feed_forward_length"),
            "norm_topk_prob": True,
        }


ARCHITECTURE = Qwen3Moe

"""How llama.cpp has mixtures of experts: stacks of all experts' gates, ups and downs, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture

EXPERTS = {
    "blk.*.ffn_gate_inp": "model.layers.*.mlp.gate",
    "blk.*.ffn_gate_exps": "model.layers.*.mlp.experts.gate_proj",
    "blk.*.ffn_up_exps": "model.layers.*.mlp.experts.up_proj",
    "blk.*.ffn_down_exps": "model.layers.*.mlp.experts.down_proj",
}
"""llama.cpp's names of a mixture's tensors."""


class MixtureArchitecture(Architecture):
    """An `Architecture` with experts in each layer. `normalizes`: whether llama.cpp normalizes their weights."""

    names: ClassVar[Mapping[str, str]] = NAMES | EXPERTS
    normalizes: ClassVar[bool] = False

    def config(self) -> dict[str, Any]:
        """With the numbers of experts."""
        whole = self.metadata.whole
        return super().config() | {
            "num_experts": whole("expert_count"),
            "num_experts_per_tok": whole("expert_used_count"),
            "norm_topk_prob": self.normalizes,
        }

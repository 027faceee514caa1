"""Qwen 1.5's and Qwen2's mixtures of experts."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel

_SHARED_GATE = "ffn_gate_inp_shexp"


class Qwen2Moe(MixtureArchitecture):
    """llama.cpp's `qwen2moe`."""

    model_type = "qwen2_moe"
    writes: ClassVar[tuple[str, ...]] = ("qwen2_moe",)
    tells_shared_size = True
    names: ClassVar = {
        **NAMES,
        **expert_names("mlp", shared="shared_expert"),
        f"blk.*.{_SHARED_GATE}": "model.layers.*.mlp.shared_expert_gate",
    }

    def config(self) -> dict[str, Any]:
        """Experts have a size of their own, and the shared one another; llama.cpp never normalizes weights."""
        shared = self.metadata.whole("expert_shared_feed_forward_length", self.rows_where("ffn_up_shexp"))
        return super().config() | {
            "moe_intermediate_size": self.expert_size,
            "shared_expert_intermediate_size": shared,
            "norm_topk_prob": False,
            "qkv_bias": self.has("attn_q.bias"),
        }

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """The gate of the shared expert is a matrix of one row, which may be a vector in the file."""
        if f".{_SHARED_GATE}." not in name:
            return super().sources_of(name, target)
        return {target: Source(name, (1, self.file.tensors[name].shape[-1]))}

    @classmethod
    def file_shapes(cls, model: OutgoingModel) -> dict[str, tuple[int, ...]]:
        """The gate of the shared expert is a vector."""
        shapes = super().file_shapes(model)
        return {name: shape[-1:] if f".{_SHARED_GATE}." in name else shape for name, shape in shapes.items()}


ARCHITECTURE = Qwen2Moe

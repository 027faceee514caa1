"""Granite 4's hybrids, and Bamba, whose layers are the same."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.architectures.granite import Granite
from ftllm_nb.checkpoint.gguf.mixture import expert_names
from ftllm_nb.checkpoint.gguf.recurrent import MAMBA_ENTRIES, RecurrentArchitecture, recurrent_names

_SHARED = {"gate": "gate_proj", "up": "up_proj", "down": "output_linear"}


class GraniteHybrid(RecurrentArchitecture, Granite):
    """llama.cpp's `granitehybrid`: with or without experts, and with or without rotations."""

    model_type = "granitemoehybrid"
    writes = ()
    names: ClassVar = {
        **NAMES,
        **recurrent_names("mamba"),
        **expert_names("block_sparse_moe", router="router.layer"),
        **{
            f"blk.*.ffn_{part}{ending}": f"model.layers.*.shared_mlp.{own}"
            for part, own in _SHARED.items()
            for ending in ("", "_shexp")
        },
    }

    def refuse_unturned(self) -> None:
        """Models without rotations are read, too."""

    def config(self) -> dict[str, Any]:
        """With the sizes of Mamba-2's layers and the numbers of experts."""
        whole = self.metadata.whole
        config = super().config()
        experts = whole("expert_count", 0, least=0)
        self.metadata.read("expert_feed_forward_length")
        turns = self.metadata.flag("rope.scaling.finetuned", True)
        return config | {
            "layer_types": self.kinds_by_heads("linear_attention"),
            "position_embedding_type": "rope" if turns else "nope",
            "num_local_experts": experts,
            "num_experts_per_tok": whole("expert_used_count", 0, least=0),
            "shared_intermediate_size": whole(
                "expert_shared_feed_forward_length", 0 if experts else self.inner_size, least=0
            ) or self.inner_size,
            "mamba_expand": self.whole_ratio("ssm.inner_size", "embedding_length", self.hidden_size),
            **self.mamba_sizes(**MAMBA_ENTRIES),
        }  # fmt: skip


ARCHITECTURE = GraniteHybrid

"""Llama 4's text models."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import SIGMOID, MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel
from ftllm_nb.errors import CheckpointError

_POSITIONS = 8192
"""Of a chunk of attention, and those after which queries grow; fixed in llama.cpp."""
_WITHOUT_NORMS = 128
"""The model of so many experts does not normalize queries and keys, which llama.cpp knows by their number."""


class Llama4(MixtureArchitecture):
    """llama.cpp's `llama4`, whose rows lie as Hugging Face's: neighbours turn there, too."""

    model_type = "llama4_text"
    writes = ("llama4_text",)
    names: ClassVar = {
        **NAMES,
        "blk.*.ffn_gate": "model.layers.*.feed_forward.gate_proj",
        "blk.*.ffn_up": "model.layers.*.feed_forward.up_proj",
        "blk.*.ffn_down": "model.layers.*.feed_forward.down_proj",
        **expert_names("feed_forward", router="router", shared="shared_expert"),
    }
    experts_entry = "num_local_experts"
    gating = SIGMOID

    def config(self) -> dict[str, Any]:
        """Sizes by kind of layer, and what is the same in all models."""
        metadata, config = self.metadata, super().config()
        metadata.read("leading_dense_block_count", "expert_shared_feed_forward_length")
        if metadata.whole("attention.sliding_window", _POSITIONS, least=0) != _POSITIONS:
            raise CheckpointError(
                f"{self.file.path} is of a Llama 4 without chunks of attention (attention.sliding_window), which this "
                "architecture does not do."
            )
        return config | {
            "intermediate_size_mlp": config["intermediate_size"],
            "intermediate_size": self.expert_size,
            "interleave_moe_layer_step": metadata.whole("interleave_moe_layer_step"),
            "use_qk_norm": config[self.experts_entry] != _WITHOUT_NORMS,
            "attention_chunk_size": _POSITIONS,
            "floor_scale": _POSITIONS,
            "attn_scale": 0.1,
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With which layers have experts."""
        mixtures = cls.layers_with(model, "ffn_gate_inp.weight")
        return {**super().entries(model), "interleave_moe_layer_step": mixtures[0] + 1 if mixtures else 0}

    @classmethod
    def inner_entry(cls, model: OutgoingModel) -> Any:
        """Where all tokens go."""
        return int(model.config["intermediate_size_mlp"])


ARCHITECTURE = Llama4

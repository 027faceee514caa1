"""How llama.cpp has latent attention: names of its matrices, and sizes of what a head is made of."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel

LATENT = {
    "blk.*.attn_q_a": "model.layers.*.self_attn.q_a_proj",
    "blk.*.attn_q_a_norm": "model.layers.*.self_attn.q_a_layernorm",
    "blk.*.attn_q_b": "model.layers.*.self_attn.q_b_proj",
    "blk.*.attn_kv_a_mqa": "model.layers.*.self_attn.kv_a_proj_with_mqa",
    "blk.*.attn_kv_a_norm": "model.layers.*.self_attn.kv_a_layernorm",
    "blk.*.attn_kv_b": "model.layers.*.self_attn.kv_b_proj",
    "blk.*.attn_k_b": "model.layers.*.self_attn.k_b_proj",
    "blk.*.attn_v_b": "model.layers.*.self_attn.v_b_proj",
}
"""llama.cpp's names of latent attention's tensors. Newer files have two stacks of a matrix for each head, that of keys
turned, in place of kv_b."""


class LatentArchitecture(Architecture):
    """An `Architecture` with latent attention: a key is a part without position and one that turns."""

    names: ClassVar = NAMES | LATENT

    def config(self) -> dict[str, Any]:
        """With the sizes of the parts."""
        metadata, config = self.metadata, super().config()
        for name in ("head_dim", "partial_rotary_factor"):
            config.pop(name, None)
        turning = metadata.whole("rope.dimension_count")
        key = metadata.whole("attention.key_length_mla", self.head_dim)
        value = metadata.whole("attention.value_length", self.hidden_size // self.heads)
        return config | {
            "num_key_value_heads": self.heads,
            "q_lora_rank": metadata.whole("attention.q_lora_rank", 0, least=0) or None,
            "kv_lora_rank": metadata.whole("attention.kv_lora_rank"),
            "qk_rope_head_dim": turning,
            "qk_nope_head_dim": key - turning,
            "v_head_dim": metadata.whole("attention.value_length_mla", value),
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the sizes of the parts."""
        config, still = model.config, int(model.config["qk_nope_head_dim"])
        found = {
            **super().entries(model),
            "attention.head_count_kv": model.heads,
            "attention.kv_lora_rank": int(config["kv_lora_rank"]),
            "attention.key_length": still + int(config["qk_rope_head_dim"]),
            "attention.value_length": int(config.get("v_head_dim") or config["hidden_size"] // model.heads),
        }
        if config.get("q_lora_rank"):
            found["attention.q_lora_rank"] = int(config["q_lora_rank"])
        return found

    def require_sizes(self) -> None:
        """Values may have another size than keys."""
        self.require_vocabulary()

"""MiniCPM 3, with latent attention; its three factors are fixed in llama.cpp, and the defaults here."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture


class MiniCPM3(Architecture):
    """llama.cpp's `minicpm3`."""

    model_type = "minicpm3"
    names: ClassVar = {
        **NAMES,
        "blk.*.attn_q_a": "model.layers.*.self_attn.q_a_proj",
        "blk.*.attn_q_a_norm": "model.layers.*.self_attn.q_a_layernorm",
        "blk.*.attn_q_b": "model.layers.*.self_attn.q_b_proj",
        "blk.*.attn_kv_a_mqa": "model.layers.*.self_attn.kv_a_proj_with_mqa",
        "blk.*.attn_kv_a_norm": "model.layers.*.self_attn.kv_a_layernorm",
        "blk.*.attn_kv_b": "model.layers.*.self_attn.kv_b_proj",
    }

    def config(self) -> dict[str, Any]:
        """A key is a part without position and one that turns; values have a size of their own."""
        metadata = self.metadata
        turning = metadata.whole("rope.dimension_count")
        config = super().config()
        for name in ("head_dim", "partial_rotary_factor"):
            config.pop(name, None)
        return {
            **config,
            "q_lora_rank": metadata.whole("attention.q_lora_rank"),
            "kv_lora_rank": metadata.whole("attention.kv_lora_rank"),
            "qk_rope_head_dim": turning,
            "qk_nope_head_dim": self.head_dim - turning,
            "v_head_dim": metadata.whole("attention.value_length", self.hidden_size // self.heads),
        }

    def require_sizes(self) -> None:
        """Values may have another size than keys."""
        self.require_vocabulary()


ARCHITECTURE = MiniCPM3

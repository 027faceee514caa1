"""LFM2's dense models."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.recurrent import RecurrentArchitecture


class Lfm2(RecurrentArchitecture):
    """llama.cpp's `lfm2`. Layers with short convolutions have no heads of keys."""

    model_type = "lfm2"
    eps_entry = "norm_eps"
    names: ClassVar = NAMES | {
        "token_embd_norm": "model.embedding_norm",
        "output_norm": "model.embedding_norm",
        "blk.*.attn_norm": "model.layers.*.operator_norm",
        "blk.*.attn_q_norm": "model.layers.*.self_attn.q_layernorm",
        "blk.*.attn_k_norm": "model.layers.*.self_attn.k_layernorm",
        "blk.*.attn_output": "model.layers.*.self_attn.out_proj",
        "blk.*.ffn_norm": "model.layers.*.ffn_norm",
        "blk.*.ffn_gate": "model.layers.*.feed_forward.w1",
        "blk.*.ffn_up": "model.layers.*.feed_forward.w3",
        "blk.*.ffn_down": "model.layers.*.feed_forward.w2",
        "blk.*.shortconv.conv": "model.layers.*.conv.conv",
        "blk.*.shortconv.in_proj": "model.layers.*.conv.in_proj",
        "blk.*.shortconv.out_proj": "model.layers.*.conv.out_proj",
    }

    def config(self) -> dict[str, Any]:
        """A feed-forward's size is what the file says."""
        return super().config() | {
            "block_auto_adjust_ff_dim": False,
            "conv_L_cache": self.metadata.whole("shortconv.l_cache"),
            "layer_types": self.kinds_by_heads("conv"),
        }


ARCHITECTURE = Lfm2

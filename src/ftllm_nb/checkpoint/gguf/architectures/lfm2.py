"""LFM2's dense models."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.recurrent import RecurrentArchitecture
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class Lfm2(RecurrentArchitecture):
    """llama.cpp's `lfm2`. Layers with short convolutions have no heads of keys."""

    model_type = "lfm2"
    writes: ClassVar[tuple[str, ...]] = ("lfm2",)
    eps_entry = "norm_eps"
    names: ClassVar = NAMES | {
        "output_norm": "model.embedding_norm",
        "token_embd_norm": "model.embedding_norm",
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

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With which layers attend, and how far convolutions reach."""
        taps = cls.shape_of(model, "shortconv.conv.weight")
        entries = {**super().entries(model), "attention.head_count_kv": cls.head_list(model)}
        return entries if taps is None else {**entries, "shortconv.l_cache": taps[-1]}

    @classmethod
    def inner_entry(cls, model: OutgoingModel) -> Any:
        """What feed-forwards have, which the config's number may still be multiplied for."""
        shape = cls.shape_of(model, "ffn_up.weight")
        return super().inner_entry(model) if shape is None else shape[0]


ARCHITECTURE = Lfm2

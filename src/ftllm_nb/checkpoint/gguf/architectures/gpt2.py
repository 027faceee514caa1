"""GPT-2, whose matrices lie the usual way here and the other way in Hugging Face's form."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class Gpt2(Architecture):
    """llama.cpp's `gpt2`."""

    model_type = "gpt2"
    writes = ("gpt2",)
    turns = False
    eps_entry = "layer_norm_epsilon"
    eps_key = "attention.layer_norm_epsilon"
    names: ClassVar = {
        "token_embd": "transformer.wte",
        "position_embd": "transformer.wpe",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.*.attn_norm": "transformer.h.*.ln_1",
        "blk.*.attn_qkv": "transformer.h.*.attn.c_attn",
        "blk.*.attn_output": "transformer.h.*.attn.c_proj",
        "blk.*.ffn_norm": "transformer.h.*.ln_2",
        "blk.*.ffn_up": "transformer.h.*.mlp.c_fc",
        "blk.*.ffn_down": "transformer.h.*.mlp.c_proj",
    }

    def config(self) -> dict[str, Any]:
        """Under GPT-2's own names; stores_transposed is ours, for blocks of quantized types cannot be transposed."""
        config = super().config()
        return {
            "model_type": config["model_type"],
            "n_embd": config["hidden_size"],
            "n_layer": config["num_hidden_layers"],
            "n_head": config["num_attention_heads"],
            "n_inner": config["intermediate_size"],
            "n_positions": config["max_position_embeddings"],
            "vocab_size": config["vocab_size"],
            "layer_norm_epsilon": config["layer_norm_epsilon"],
            "tie_word_embeddings": config["tie_word_embeddings"],
            "stores_transposed": False,
        }

    def rotations(self) -> dict[str, Any]:
        """None."""
        return {}


ARCHITECTURE = Gpt2

"""GPT-NeoX and Pythia."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.sources import Source, parts_to_heads
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class GptNeoX(Architecture):
    """llama.cpp's `gptneox`."""

    model_type = "gpt_neox"
    writes = ("gpt_neox",)
    eps_entry = "layer_norm_eps"
    eps_key = "attention.layer_norm_epsilon"
    names: ClassVar = {
        "token_embd": "gpt_neox.embed_in",
        "output_norm": "gpt_neox.final_layer_norm",
        "output": "embed_out",
        "blk.*.attn_norm": "gpt_neox.layers.*.input_layernorm",
        "blk.*.attn_qkv": "gpt_neox.layers.*.attention.query_key_value",
        "blk.*.attn_output": "gpt_neox.layers.*.attention.dense",
        "blk.*.ffn_norm": "gpt_neox.layers.*.post_attention_layernorm",
        "blk.*.ffn_up": "gpt_neox.layers.*.mlp.dense_h_to_4h",
        "blk.*.ffn_down": "gpt_neox.layers.*.mlp.dense_4h_to_h",
    }

    def config(self) -> dict[str, Any]:
        """The activation, which the metadata does not tell, is gelu."""
        parallel = self.metadata.flag("use_parallel_residual", True)
        biased = "blk.0.attn_qkv.bias" in self.file.tensors
        config = {**super().config(), "use_parallel_residual": parallel, "attention_bias": biased, "hidden_act": "gelu"}
        return {"partial_rotary_factor": 1.0, **config}

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """The q, k and v of each head lie together in Hugging Face's form."""
        if ".query_key_value." not in target:
            return super().sources_of(name, target)
        shape = self.file.tensors[name].shape
        self.require_multiple(name, shape[0], 3 * self.heads)
        return {target: Source(name, shape, parts_to_heads(shape[0], self.heads))}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With how branches stand."""
        parallel = model.config.get("use_parallel_residual", True)
        return {**super().entries(model), "use_parallel_residual": bool(parallel)}


ARCHITECTURE = GptNeoX

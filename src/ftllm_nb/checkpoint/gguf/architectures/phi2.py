"""Phi-1, Phi-1.5 and Phi-2."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture
from ftllm_nb.checkpoint.gguf.sources import Source


class Phi2(Architecture):
    """llama.cpp's `phi2`."""

    model_type = "phi"
    writes = ("phi",)
    eps_entry = "layer_norm_eps"
    eps_key = "attention.layer_norm_epsilon"
    names: ClassVar = NAMES | {
        "output_norm": "model.final_layernorm",
        "blk.*.attn_output": "model.layers.*.self_attn.dense",
        "blk.*.ffn_up": "model.layers.*.mlp.fc1",
        "blk.*.ffn_down": "model.layers.*.mlp.fc2",
    }

    def config(self) -> dict[str, Any]:
        """The activation, which the metadata does not tell, is the published models'; heads have no norms."""
        return {"partial_rotary_factor": 1.0, **super().config(), "hidden_act": "gelu_new", "qk_layernorm": False}

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """Older files have q, k and v as one matrix."""
        if ".qkv_proj." not in target:
            return super().sources_of(name, target)
        rows, *columns = self.file.tensors[name].shape
        self.require_multiple(name, rows, self.heads + 2 * self.kv_heads)
        size, begin, found = rows // (self.heads + 2 * self.kv_heads), 0, {}
        for part, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)):
            end = begin + heads * size
            found[target.replace("qkv", part)] = Source(name, (end - begin, *columns), slice(begin, end))
            begin = end
        return found


ARCHITECTURE = Phi2

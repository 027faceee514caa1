"""StableLM: in some models each head of q and k has a norm of its own."""

from __future__ import annotations

import re
from typing import Any

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class StableLm(Architecture):
    """llama.cpp's `stablelm`."""

    model_type = "stablelm"
    writes = ("stablelm",)
    eps_entry = "layer_norm_eps"
    eps_key = "attention.layer_norm_epsilon"

    def config(self) -> dict[str, Any]:
        """What there is of norms and biases, the tensors tell; branches are parallel where the second has no norm."""
        self.metadata.read("use_parallel_residual")
        tensors = self.file.tensors
        config = {
            **super().config(),
            "use_parallel_residual": "blk.0.ffn_norm.weight" not in tensors,
            "qk_layernorm": "blk.0.attn_q_norm.weight" in tensors,
            "use_qkv_bias": "blk.0.attn_q.bias" in tensors,
        }
        return {"partial_rotary_factor": 1.0, **config}

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """Norms of heads are one matrix here."""
        if not target.endswith(("q_norm.weight", "k_norm.weight")):
            return super().sources_of(name, target)
        *_, heads, size = (1, *self.file.tensors[name].shape)
        stem = target.removesuffix("_norm.weight")
        return {
            f"{stem}_layernorm.norms.{head}.weight": Source(name, (size,), slice(head, head + 1))
            for head in range(heads)
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With how branches stand."""
        parallel = model.config.get("use_parallel_residual", False)
        return {**super().entries(model), "use_parallel_residual": bool(parallel)}

    @classmethod
    def file_shapes(cls, model: OutgoingModel) -> dict[str, tuple[int, ...]]:
        """Norms of heads are one matrix there."""
        found: dict[str, tuple[int, ...]] = {}
        for name, shape in model.shapes.items():
            norm = re.fullmatch(r"model\.layers\.(\d+)\.self_attn\.(q|k)_layernorm\.norms\.\d+\.weight", name)
            if norm is None:
                found[cls.file_name(name)] = shape
            else:
                heads = {"q": model.heads, "k": model.kv_heads}[norm[2]]
                found[f"blk.{norm[1]}.attn_{norm[2]}_norm.weight"] = (heads, *shape)
        return found


ARCHITECTURE = StableLm

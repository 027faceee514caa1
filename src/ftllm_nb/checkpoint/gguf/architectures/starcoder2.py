"""StarCoder 2."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture


class Starcoder2(Architecture):
    """llama.cpp's `starcoder2`."""

    model_type = "starcoder2"
    writes = ("starcoder2",)
    eps_entry = "norm_epsilon"
    eps_key = "attention.layer_norm_epsilon"
    names: ClassVar = {
        **NAMES,
        "blk.*.ffn_up": "model.layers.*.mlp.c_fc",
        "blk.*.ffn_down": "model.layers.*.mlp.c_proj",
    }

    def config(self) -> dict[str, Any]:
        """llama.cpp has no window here, and no file tells one."""
        return {**super().config(), "use_bias": "blk.0.attn_q.bias" in self.file.tensors}


ARCHITECTURE = Starcoder2

"""HunYuan's dense models."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture


class HunYuan(Architecture):
    """llama.cpp's `hunyuan-dense`."""

    model_type = "hunyuan_v1_dense"
    writes = ("hunyuan_v1_dense",)
    file_architecture = "hunyuan-dense"
    names: ClassVar = {
        **NAMES,
        "blk.*.attn_q_norm": "model.layers.*.self_attn.query_layernorm",
        "blk.*.attn_k_norm": "model.layers.*.self_attn.key_layernorm",
    }

    def config(self) -> dict[str, Any]:
        """Heads are normalized where the file has norms for them."""
        return {**super().config(), "use_qk_norm": "blk.0.attn_q_norm.weight" in self.file.tensors}


ARCHITECTURE = HunYuan

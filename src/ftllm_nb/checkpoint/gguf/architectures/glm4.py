"""GLM-4, which turns neighbours in Hugging Face's form, too."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture


class Glm4(Architecture):
    """llama.cpp's `glm4`."""

    model_type = "glm4"
    writes = ("glm4",)
    names: ClassVar = {
        **NAMES,
        "blk.*.post_attention_norm": "model.layers.*.post_self_attn_layernorm",
        "blk.*.ffn_up": "model.layers.*.mlp.gate_up_proj",
        "blk.*.post_ffw_norm": "model.layers.*.post_mlp_layernorm",
    }


ARCHITECTURE = Glm4

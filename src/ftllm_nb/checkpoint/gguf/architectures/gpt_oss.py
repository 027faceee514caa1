"""gpt-oss, whose experts are MXFP4 in most files."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture, expert_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel


class GptOss(MixtureArchitecture):
    """llama.cpp's `gpt-oss`."""

    model_type = "gpt_oss"
    writes = ("gpt_oss",)
    file_architecture = "gpt-oss"
    names: ClassVar = {
        **NAMES,
        "blk.*.post_attention_norm": "model.layers.*.post_attention_layernorm",
        "blk.*.attn_sinks.weight": "model.layers.*.self_attn.sinks",
        **expert_names("mlp", router="router"),
    }
    experts_entry = "num_local_experts"

    def config(self) -> dict[str, Any]:
        """Experts are as large as the metadata says of them; every second layer sees everything."""
        config = super().config()
        window = self.metadata.whole("attention.sliding_window")
        return config | {"intermediate_size": self.expert_size, **self.windows(2, window)}

    def scaling(self) -> dict[str, Any] | None:
        """The model's own yarn begins and ends between angles; llama.cpp rounds that, and has no entry for it."""
        scaling = super().scaling()
        return scaling if scaling is None or scaling["rope_type"] != "yarn" else {**scaling, "truncate": False}

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the window of every second layer."""
        return {**super().entries(model), **cls.window_entries(model, pattern=False)}


ARCHITECTURE = GptOss

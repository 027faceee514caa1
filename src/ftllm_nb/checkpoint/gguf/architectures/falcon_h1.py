"""Falcon-H1."""

from __future__ import annotations

from typing import Any, ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.recurrent import MAMBA_ENTRIES, RecurrentArchitecture, recurrent_names


class FalconH1(RecurrentArchitecture):
    """llama.cpp's `falcon-h1`, whose matrices have been multiplied by all that the model multiplies by."""

    model_type = "falcon_h1"
    names: ClassVar = {
        **NAMES,
        **recurrent_names("mamba"),
        "output_norm": "model.final_layernorm",
        "blk.*.ffn_norm": "model.layers.*.pre_ff_layernorm",
        "blk.*.ffn_gate": "model.layers.*.feed_forward.gate_proj",
        "blk.*.ffn_up": "model.layers.*.feed_forward.up_proj",
        "blk.*.ffn_down": "model.layers.*.feed_forward.down_proj",
    }

    def model_name(self, name: str) -> str:
        """The norm before a feed-forward has no ending in a file."""
        return super().model_name(f"{name}.weight" if name.endswith(".ffn_norm") else name)

    def config(self) -> dict[str, Any]:
        """With the sizes of recurrences; what is read is gated, and then normalized where there is a norm."""
        return super().config() | {
            "mamba_d_ssm": self.metadata.whole("ssm.inner_size"),
            "mamba_rms_norm": self.has_any("ssm_norm.weight"),
            "mamba_norm_before_gate": False,
            "projectors_bias": self.has_any("ssm_out.bias"),
            **self.mamba_sizes(**MAMBA_ENTRIES),
        }


ARCHITECTURE = FalconH1

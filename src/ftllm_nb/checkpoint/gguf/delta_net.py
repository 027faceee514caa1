"""How llama.cpp has Qwen's hybrids, in which most layers are gated delta nets."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.guessing import GuessingArchitecture
from ftllm_nb.checkpoint.gguf.recurrent import RecurrentArchitecture, recurrent_names
from ftllm_nb.checkpoint.gguf.way_out import FULL

LINEAR = "linear_attention"
DELTA_NET = {
    **NAMES,
    **recurrent_names("linear_attn"),
    "blk.*.post_attention_norm": "model.layers.*.post_attention_layernorm",
    "blk.*.attn_qkv": "model.layers.*.linear_attn.in_proj_qkv",
    "blk.*.attn_gate": "model.layers.*.linear_attn.in_proj_z",
    "blk.*.ssm_beta": "model.layers.*.linear_attn.in_proj_b",
    "blk.*.ssm_alpha": "model.layers.*.linear_attn.in_proj_a",
}
"""llama.cpp's names of tensors → those of Qwen3.5."""


class DeltaNetArchitecture(GuessingArchitecture, RecurrentArchitecture):
    """A `RecurrentArchitecture` whose recurrent layers are delta nets.

    `tiles_values`: heads of values stand as llama.cpp repeats those of keys, the first of each key head, then the
    second. They stay so, since the columns of the matrix that reads them are cut into blocks; the config says it.
    """

    names: ClassVar = DELTA_NET
    norm_plus = -1.0
    tiles_values: ClassVar[bool] = True

    def config(self) -> dict[str, Any]:
        """With the sizes of delta nets."""
        config, whole = super().config(), self.metadata.whole
        self.metadata.read("rope.dimension_sections")  # axes of a picture, which are one in texts
        keys, values = whole("ssm.group_count"), whole("ssm.time_step_rank")
        config = {"partial_rotary_factor": 1.0, **config} | {
            "attn_output_gate": True,
            "layer_types": self.kinds(),
            "linear_num_key_heads": keys,
            "linear_num_value_heads": values,
            "linear_key_head_dim": whole("ssm.state_size"),
            "linear_value_head_dim": self.whole_ratio("ssm.inner_size", "ssm.time_step_rank", values),
            "linear_conv_kernel_dim": whole("ssm.conv_kernel"),
        }
        if self.tiles_values and keys != values:
            config["linear_value_heads_are_tiled"] = True
        return config

    def kinds(self) -> list[str]:
        """Listed, or each full_attention_interval-th layer attends."""
        name, layers = "attention.recurrent_layers", self.all_layers
        if isinstance(self.file.metadata.get(f"{self.file.metadata['general.architecture']}.{name}"), np.ndarray):
            recurs = self.metadata.pattern(name, layers, 1)
        else:
            recurs = self.metadata.pattern("full_attention_interval", layers, 4)
        return [LINEAR if each else FULL for each in recurs[: self.layers]]

"""How llama.cpp has Qwen's hybrids, in which most layers are gated delta nets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.guessing import GuessingArchitecture
from ftllm_nb.checkpoint.gguf.made import Made, Piece, Relaid, rows_of
from ftllm_nb.checkpoint.gguf.recurrent import RecurrentArchitecture, recurrent_names
from ftllm_nb.checkpoint.gguf.way_out import FULL, OutgoingModel

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
    `has_sections`: whether files say how many angles are of which axis of a picture.
    """

    names: ClassVar = DELTA_NET
    norm_plus = -1.0
    tiles_values: ClassVar[bool] = True
    has_sections: ClassVar[bool] = True

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

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the sizes of delta nets, and every so manieth layer that attends."""
        config, turning = model.config, model.turning_of()
        values = int(config["linear_num_value_heads"])
        attend = cls.layers_with(model, "attn_q.weight")
        found: dict[str, Any] = {
            **super().entries(model),
            "ssm.conv_kernel": int(config["linear_conv_kernel_dim"]),
            "ssm.state_size": int(config["linear_key_head_dim"]),
            "ssm.group_count": int(config["linear_num_key_heads"]),
            "ssm.time_step_rank": values,
            "ssm.inner_size": int(config["linear_value_head_dim"]) * values,
            "full_attention_interval": attend[0] + 1 if attend else model.layers + 1,
        }
        if cls.has_sections:
            found["rope.dimension_sections"] = _sections(model.section().get("mrope_section"), turning // 2)
        return found

    @classmethod
    def relaid(cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Relaid:
        """Heads of values tiled, in the matrices that make them and in the columns of the one that reads them."""
        keys, values = int(config["linear_num_key_heads"]), int(config["linear_num_value_heads"])
        if not cls.tiles_values or keys == values or config.get("linear_value_heads_are_tiled"):
            return Relaid()
        size, made = int(config["linear_value_head_dim"]), dict[str, Made]()
        heads = np.arange(values).reshape(keys, values // keys).T.reshape(-1)
        rows = (heads[:, None] * size + np.arange(size)).reshape(-1)
        before = 2 * keys * int(config["linear_key_head_dim"])
        mixed = np.concatenate([np.arange(before), before + rows])
        orders = {"in_proj_qkv.weight": mixed, "conv1d.weight": mixed, "in_proj_z.weight": rows,
                  **dict.fromkeys(("in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias"), heads)}  # fmt: skip
        for name, shape in shapes.items():
            part = name.partition(".linear_attn.")[2]
            if part in orders:
                made[name] = rows_of(name, shape, orders[part])
            elif part == "out_proj.weight":
                made[name] = Made(shape, (Piece(name, lambda array: array[:, rows]),))
        return Relaid(made, {"linear_value_heads_are_tiled": True})

    def kinds(self) -> list[str]:
        """Listed, or each full_attention_interval-th layer attends."""
        name, layers = "attention.recurrent_layers", self.all_layers
        if isinstance(self.file.metadata.get(f"{self.file.metadata['general.architecture']}.{name}"), np.ndarray):
            recurs = self.metadata.pattern(name, layers, 1)
        else:
            recurs = self.metadata.pattern("full_attention_interval", layers, 4)
        return [LINEAR if each else FULL for each in recurs[: self.layers]]


def _sections(given: Any, angles: int) -> NDArray[np.int32]:
    """How many of so many angles are of each of four axes, as the config says, or of about as many each."""
    if not isinstance(given, list) or sum(given) != angles:
        given = [(angles + 2 - axis) // 3 for axis in range(3)]
    return np.array([*given, *[0] * (4 - len(given))], np.int32)

"""Qwen3-Next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ftllm_nb.checkpoint.gguf.architectures.qwen35moe import Qwen35Moe
from ftllm_nb.checkpoint.gguf.made import Made, Relaid, rows_of


class Qwen3Next(Qwen35Moe):
    """llama.cpp's `qwen3next`. Older files have the projections as Hugging Face's folders, newer ones as Qwen3.5."""

    model_type = "qwen3_next"
    writes = ("qwen3_next",)
    has_sections = False
    tiles_values = False
    names: ClassVar = Qwen35Moe.names | {
        "blk.*.ssm_in": "model.layers.*.linear_attn.in_proj_qkvz",
        "blk.*.ssm_ba": "model.layers.*.linear_attn.in_proj_ba",
    }

    @classmethod
    def relaid(cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Relaid:
        """Rows of each key head's queries, keys, values and gates as those of all together, and all gates apart."""
        keys, dim = int(config["linear_num_key_heads"]), int(config["linear_key_head_dim"])
        size = int(config["linear_num_value_heads"]) // keys * int(config["linear_value_head_dim"])
        order = np.arange(keys * 2 * (dim + size)).reshape(keys, -1)
        parts = np.split(order, np.cumsum([dim, dim, size]), axis=1)
        mixed, gates = np.concatenate([part.reshape(-1) for part in parts[:3]]), parts[3].reshape(-1)
        made: dict[str, Made] = {}
        for name, shape in shapes.items():
            if name.endswith(".in_proj_qkvz.weight"):
                made[name.replace("qkvz", "qkv")] = rows_of(name, shape, mixed)
                made[name.replace("qkvz", "z")] = rows_of(name, shape, gates)
        return Relaid(made)


ARCHITECTURE = Qwen3Next

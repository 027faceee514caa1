"""Nemotron-H, of whose layers some are feed-forwards."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ftllm_nb.checkpoint.gguf.guessing import GuessingArchitecture
from ftllm_nb.checkpoint.gguf.mixers import MIXERS, MixerArchitecture
from ftllm_nb.checkpoint.gguf.way_out import FULL, OutgoingModel

_AT = "backbone.layers.*.mixer"


class NemotronH(GuessingArchitecture, MixerArchitecture):
    """llama.cpp's `nemotron_h`. A layer with neither heads of keys nor a feed-forward is recurrent."""

    model_type = "nemotron_h"
    writes: ClassVar[tuple[str, ...]] = ()  # nemotron_h_moe.py writes either form
    file_architecture: ClassVar[str] = "nemotron_h"
    untold: ClassVar = {
        "timeStepMin": "a GGUF file has no place for the least time step (time_step_min), which the kernels of "
        "training do without, too."
    }
    inner_kind: ClassVar[str] = "mlp"
    own_entries: ClassVar = {"heads": "mamba_num_heads", "head_dim": "mamba_head_dim", "state": "ssm_state_size"}
    names: ClassVar = {
        **MIXERS,
        **{f"blk.*.attn_{part}": f"{_AT}.{part}_proj" for part in "qkv"},
        "blk.*.attn_output": f"{_AT}.o_proj",
        "blk.*.ffn_up": f"{_AT}.up_proj",
        "blk.*.ffn_down": f"{_AT}.down_proj",
    }

    def config(self) -> dict[str, Any]:
        """With the kind of each layer. Time steps have no least one in llama.cpp, as in the kernels of training."""
        config = super().config()
        self.metadata.read("attention.layer_norm_epsilon")  # that of norms about a mean, which files must have
        kinds = [
            FULL if heads else self.inner_kind if size else "linear_attention"
            for heads, size in zip(self.key_heads(), self.inner_sizes(), strict=True)
        ]
        return config | {
            "layers_block_type": kinds,
            "mlp_hidden_act": "relu2",
            "mlp_bias": self.has_any("ffn_up.bias"),
            "attention_bias": self.has_any("attn_q.bias"),
            "time_step_min": 0,
        }

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With heads and feed-forwards of each layer, and an eps that files must have."""
        found = {**super().entries(model), "attention.head_count_kv": cls.head_list(model)}
        return {**found, "attention.layer_norm_epsilon": model.eps}

    @classmethod
    def inner_entry(cls, model: OutgoingModel) -> Any:
        """Of layers that are feed-forwards; 0 of others."""
        sizes = np.zeros(model.layers, np.int32)
        for name, shape in cls.file_shapes(model).items():
            if name.endswith((".ffn_up.weight", ".ffn_up_exps.weight")):
                sizes[int(name.split(".")[1])] = shape[-2]
        return sizes


ARCHITECTURE = NemotronH

"""Falcon-H1."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ftllm_nb.checkpoint.gguf.architecture import NAMES
from ftllm_nb.checkpoint.gguf.made import Array, Made, Piece, Relaid
from ftllm_nb.checkpoint.gguf.recurrent import MAMBA_ENTRIES, RecurrentArchitecture, recurrent_names
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel

_MULTIPLIERS = ("embedding", "lm_head", "key", "attention_in", "attention_out", "ssm_in", "ssm_out")


class FalconH1(RecurrentArchitecture):
    """llama.cpp's `falcon-h1`, whose matrices have been multiplied by all that the model multiplies by."""

    model_type = "falcon_h1"
    writes = ("falcon_h1",)
    file_architecture = "falcon-h1"
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

    @classmethod
    def file_name(cls, name: str) -> str:
        """The norm before a feed-forward has no ending in a file."""
        found = super().file_name(name)
        return found.removesuffix(".weight") if found.endswith(".ffn_norm.weight") else found

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With the sizes of recurrences."""
        return {**super().entries(model), **cls.mamba_entries(model)}

    @classmethod
    def norm_groups(cls, model: OutgoingModel) -> int:
        """From the config."""
        return int(model.config["mamba_n_groups"])

    @classmethod
    def relaid(cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Relaid:
        """Matrices and biases times the model's multipliers."""
        of = {name: float(config.get(f"{name}_multiplier") or 1.0) for name in _MULTIPLIERS}
        gate, down = config.get("mlp_multipliers") or (1.0, 1.0)
        each = config.get("ssm_multipliers") or [1.0] * 5
        if {*of.values(), gate, down, *each} == {1.0}:
            return Relaid()
        factors: dict[str, float | Array] = {
            "q_proj.weight": of["attention_in"], "v_proj.weight": of["attention_in"],
            "k_proj.weight": of["attention_in"] * of["key"], "k_proj.bias": of["key"],
            **dict.fromkeys(("o_proj.weight", "o_proj.bias"), of["attention_out"]),
            **dict.fromkeys(("mamba.out_proj.weight", "mamba.out_proj.bias"), of["ssm_out"]),
            **dict.fromkeys(("gate_proj.weight", "gate_proj.bias"), gate),
            **dict.fromkeys(("down_proj.weight", "down_proj.bias"), down),
            "lm_head.weight": of["lm_head"], "embed_tokens.weight": of["embedding"],
        }  # fmt: skip
        made = {}
        for name, shape in shapes.items():
            factor = next((factor for ending, factor in factors.items() if name.endswith(f".{ending}")), None)
            if name == "lm_head.weight":
                factor = of["lm_head"]
            if ".mamba.in_proj." in name:
                parts = _parts_of(config, shape[0])
                factor = np.repeat(np.array(each, np.float32), parts).reshape(-1, *[1] * (len(shape) - 1))
                factor = factor * np.float32(of["ssm_in"]) if name.endswith(".weight") else factor
            if factor is not None:
                times = functools.partial(np.multiply, np.asarray(factor, np.float32))
                made[name] = Made(shape, (Piece(name, times),), True)
        changed = dict.fromkeys((f"{name}_multiplier" for name in _MULTIPLIERS), 1.0)
        table = next(name for name in shapes if name.endswith("embed_tokens.weight"))
        if not any(name.startswith("lm_head.") for name in shapes) and of["lm_head"] != of["embedding"]:
            scaled = functools.partial(np.multiply, np.float32(of["lm_head"]))
            made["lm_head.weight"] = Made(shapes[table], (Piece(table, scaled),), True)
            changed["tie_word_embeddings"] = False
        return Relaid(made, {**changed, "mlp_multipliers": [1.0, 1.0], "ssm_multipliers": [1.0] * 5})


def _parts_of(config: Mapping[str, Any], rows: int) -> list[int]:
    """Rows of a recurrence's first matrix that make z, inner, B, C and dt."""
    heads = int(config["mamba_n_heads"])
    state = int(config["mamba_n_groups"]) * int(config["mamba_d_state"])
    inner = (rows - heads - 2 * state) // 2
    return [inner, inner, state, state, heads]


ARCHITECTURE = FalconH1

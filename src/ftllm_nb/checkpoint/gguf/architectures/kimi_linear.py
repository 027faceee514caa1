"""Kimi Linear: delta nets with three convolutions, latent attention that does not turn, and experts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture
from ftllm_nb.checkpoint.gguf.architectures.deepseek2 import DeepSeekV3
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.checkpoint.gguf.latent import LATENT
from ftllm_nb.checkpoint.gguf.made import Made, Piece, Relaid
from ftllm_nb.checkpoint.gguf.metadata import Metadata
from ftllm_nb.checkpoint.gguf.mixture import expert_names
from ftllm_nb.checkpoint.gguf.recurrent import RecurrentArchitecture
from ftllm_nb.checkpoint.gguf.sources import Source
from ftllm_nb.checkpoint.gguf.way_out import OutgoingModel

_AT = "model.layers.*.self_attn"
_MIXTURE = ".block_sparse_moe."


class KimiLinear(RecurrentArchitecture, DeepSeekV3):
    """llama.cpp's `kimi-linear`. Layers of delta nets have no heads of keys."""

    model_type = "kimi_linear"
    writes = ("kimi_linear",)
    forms = ()
    file_architecture = "kimi-linear"
    names: ClassVar = {
        **NAMES,
        **LATENT,
        **expert_names(
            _MIXTURE.strip("."), parts=("w1", "w3", "w2"), shared="shared_experts",
            correction="gate.e_score_correction_bias",
        ),
        **{f"blk.*.ssm_conv1d_{part}": f"{_AT}.{part}_conv1d" for part in "qkv"},
        **{f"blk.*.ssm_{part}": f"{_AT}.{part}_proj" for part in ("f_a", "f_b", "g_a", "g_b")},
        "blk.*.ssm_beta": f"{_AT}.b_proj",
        "blk.*.ssm_a": f"{_AT}.A_log",
        "blk.*.ssm_dt.bias": f"{_AT}.dt_bias",
        "blk.*.ssm_norm": f"{_AT}.o_norm",
    }  # fmt: skip

    @classmethod
    def of(cls, file: GgufFile, metadata: Metadata) -> Architecture:
        """There is one form."""
        return cls(file, metadata)

    def config(self) -> dict[str, Any]:
        """With the sizes of delta nets; llama.cpp always normalizes weights."""
        linear = {
            "head_dim": self.metadata.whole("kda.head_dim"),
            "num_heads": self.heads,
            "short_conv_kernel_size": self.metadata.whole("ssm.conv_kernel"),
        }
        return super().config() | {
            "linear_attn_config": linear,
            "layer_types": self.kinds_by_heads("linear_attention"),
            "norm_topk_prob": True,
        }

    def sources_of(self, name: str, target: str) -> dict[str, Source]:
        """Convolutions and decays have axes of one number here and there."""
        shape, part = self.file.tensors[name].shape, name.removesuffix(".weight").split(".")[-1]
        if part.startswith("ssm_conv1d_"):
            return {target: Source(name, (math.prod(shape) // shape[-1], 1, shape[-1]))}
        if part == "ssm_a":
            return {target: Source(name, (1, 1, math.prod(shape), 1), is_decay=True)}
        return super().sources_of(name, target)

    @classmethod
    def entries(cls, model: OutgoingModel) -> dict[str, Any]:
        """With which layers attend, and the sizes of delta nets."""
        attend = cls.layers_with(model, "attn_kv_a_mqa.weight")
        found = {
            **super().entries(model),
            "attention.head_count_kv": np.array([int(layer in attend) for layer in range(model.layers)], np.int32),
            "rope.dimension_count": int(model.config["qk_rope_head_dim"]),
        }
        taps, norm = (cls.shape_of(model, f"ssm_{part}.weight") for part in ("conv1d_q", "norm"))
        if taps is not None and norm is not None:
            found |= {"ssm.conv_kernel": taps[-1], "kda.head_dim": norm[0]}
        return found

    @classmethod
    def file_shapes(cls, model: OutgoingModel) -> dict[str, tuple[int, ...]]:
        """Convolutions keep their middle axis, decays are a column."""
        shapes = super().file_shapes(model)
        return {name: (math.prod(each), 1) if name.endswith(".ssm_a") else each for name, each in shapes.items()}

    @classmethod
    def relaid(cls, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Relaid:
        """Feed-forwards without experts by their own name, which transformers does not write."""
        made = dict(super().relaid(config, shapes).made)
        for name, shape in shapes.items():
            if name.endswith(tuple(f"{_MIXTURE}{part}_proj.weight" for part in ("gate", "up", "down"))):
                made[name.replace(_MIXTURE, ".mlp.")] = Made(shape, (Piece(name),))
        return Relaid(made)


ARCHITECTURE = KimiLinear

"""Seed-OSS."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.checkpoint.gguf.architecture import NAMES, Architecture


class SeedOss(Architecture):
    """llama.cpp's `seed_oss`."""

    model_type = "seed_oss"
    writes = ("seed_oss",)
    names: ClassVar = {**NAMES, "blk.*.post_attention_norm": "model.layers.*.post_attention_layernorm"}


ARCHITECTURE = SeedOss

"""Qwen3-Next."""

from __future__ import annotations

from typing import ClassVar

from ftllm_nb.checkpoint.gguf.architectures.qwen35moe import Qwen35Moe


class Qwen3Next(Qwen35Moe):
    """llama.cpp's `qwen3next`. Older files have the projections as Hugging Face's folders, newer ones as Qwen3.5."""

    model_type = "qwen3_next"
    tiles_values = False
    names: ClassVar = Qwen35Moe.names | {
        "blk.*.ssm_in": "model.layers.*.linear_attn.in_proj_qkvz",
        "blk.*.ssm_ba": "model.layers.*.linear_attn.in_proj_ba",
    }


ARCHITECTURE = Qwen3Next

"""Qwen3's dense models."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class Qwen3(Architecture):
    """llama.cpp's `qwen3`."""

    model_type = "qwen3"
    writes = ("qwen3",)


ARCHITECTURE = Qwen3

"""Qwen2 and Qwen2.5."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class Qwen2(Architecture):
    """llama.cpp's `qwen2`."""

    model_type = "qwen2"
    writes = ("qwen2",)


ARCHITECTURE = Qwen2

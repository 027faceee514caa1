"""Qwen3.5 and 3.6's dense models."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.delta_net import DeltaNetArchitecture


class Qwen35(DeltaNetArchitecture):
    """llama.cpp's `qwen35`."""

    model_type = "qwen3_5_text"
    writes = ("qwen3_5_text",)


ARCHITECTURE = Qwen35

"""Gemma 1."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class Gemma(Architecture):
    """llama.cpp's `gemma`."""

    model_type = "gemma"
    writes = ("gemma",)
    norm_plus = -1.0


ARCHITECTURE = Gemma

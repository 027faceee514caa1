"""Llama, Mistral, SmolLM2 and all that llama.cpp takes for Llama."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class Llama(Architecture):
    """llama.cpp's `llama`."""

    model_type = "llama"
    writes = ("llama", "mistral")
    turns_neighbours = True


ARCHITECTURE = Llama

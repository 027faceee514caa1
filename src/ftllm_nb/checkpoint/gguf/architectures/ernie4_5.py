"""ERNIE 4.5's dense models, which turn neighbours in Hugging Face's form, too."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.architecture import Architecture


class Ernie45(Architecture):
    """llama.cpp's `ernie4_5`."""

    model_type = "ernie4_5"
    writes = ("ernie4_5",)


ARCHITECTURE = Ernie45

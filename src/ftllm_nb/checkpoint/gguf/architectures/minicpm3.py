"""MiniCPM 3, with latent attention; its three factors are fixed in llama.cpp, and the defaults here."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.latent import LatentArchitecture


class MiniCPM3(LatentArchitecture):
    """llama.cpp's `minicpm3`."""

    model_type = "minicpm3"
    writes = ("minicpm3",)


ARCHITECTURE = MiniCPM3

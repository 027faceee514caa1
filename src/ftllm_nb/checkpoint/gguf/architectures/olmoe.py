"""OLMoE."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.mixture import MixtureArchitecture


class Olmoe(MixtureArchitecture):
    """llama.cpp's `olmoe`."""

    model_type = "olmoe"


ARCHITECTURE = Olmoe

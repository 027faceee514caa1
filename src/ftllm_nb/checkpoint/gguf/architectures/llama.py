"""Llama, Mistral, SmolLM2, Mixtral and all that llama.cpp takes for Llama."""

from __future__ import annotations

from ftllm_nb.checkpoint.gguf.architecture import Architecture
from ftllm_nb.checkpoint.gguf.file import GgufFile
from ftllm_nb.checkpoint.gguf.metadata import Metadata
from ftllm_nb.checkpoint.gguf.mixtral import Mixtral


class Llama(Architecture):
    """llama.cpp's `llama`."""

    model_type = "llama"
    writes = ("llama", "mistral")
    forms = (Mixtral,)
    turns_neighbours = True

    @classmethod
    def of(cls, file: GgufFile, metadata: Metadata) -> Architecture:
        """With experts it is Mixtral."""
        return Mixtral(file, metadata) if metadata.whole("expert_count", 0, least=0) else cls(file, metadata)


ARCHITECTURE = Llama
